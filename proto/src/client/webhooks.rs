//! Webhooks: who is told when runs and studies end.

use reqwest::Method;

use super::{Client, ClientError};
use crate::id::WebhookId;
use crate::webhook::{
    ChangeWebhook, Delivery, DeliveryList, NewWebhook, WebhookCreated, WebhookInfo, WebhookList,
};

impl Client {
    /// The webhooks, the newest first.
    ///
    /// # Errors
    /// Any of [`ClientError`].
    pub async fn webhooks(&self) -> Result<Vec<WebhookInfo>, ClientError> {
        Ok(self.get::<WebhookList>(&["webhooks"]).await?.webhooks)
    }

    /// Adds a webhook. The secret that signs its deliveries is in the answer and nowhere else.
    ///
    /// # Errors
    /// Problems with the codes `unknown_project`, `too_many_webhooks` and `invalid_body`.
    pub async fn create_webhook(&self, webhook: &NewWebhook) -> Result<WebhookCreated, ClientError> {
        self.post(&["webhooks"], webhook).await
    }

    /// Changes a webhook; what is left out stays.
    ///
    /// # Errors
    /// A problem with status 404 where there is no such webhook.
    pub async fn change_webhook(
        &self,
        webhook: WebhookId,
        change: &ChangeWebhook,
    ) -> Result<WebhookInfo, ClientError> {
        let request = self.request(Method::PATCH, &["webhooks", &webhook.to_string()]);
        self.json(request.json(change)).await
    }

    /// Removes a webhook; what it was still to be told is not told.
    ///
    /// # Errors
    /// A problem with status 404 where there is no such webhook.
    pub async fn delete_webhook(&self, webhook: WebhookId) -> Result<(), ClientError> {
        let request = self.request(Method::DELETE, &["webhooks", &webhook.to_string()]);
        self.send(request).await.map(drop)
    }

    /// Sends a delivery that says nothing but that somebody tries the webhook.
    ///
    /// # Errors
    /// A problem with status 404 where there is no such webhook.
    pub async fn test_webhook(&self, webhook: WebhookId) -> Result<Delivery, ClientError> {
        let path = ["webhooks", &webhook.to_string(), "test"];
        self.json(self.request(Method::POST, &path)).await
    }

    /// The newest deliveries of a webhook.
    ///
    /// # Errors
    /// A problem with status 404 where there is no such webhook.
    pub async fn deliveries(&self, webhook: WebhookId) -> Result<Vec<Delivery>, ClientError> {
        let path = ["webhooks", &webhook.to_string(), "deliveries"];
        Ok(self.get::<DeliveryList>(&path).await?.deliveries)
    }
}
