//! Who asks, what they may do, and which projects they see. Decisions only: who is behind a secret is for
//! [`crate::access`] to find out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use motif_proto::access::{ActorKind, Me, Scope};
use motif_proto::id::{SessionId, TokenId};
use motif_proto::problem::FieldProblem;
use motif_proto::spec::DEFAULT_PROJECT;
use serde_json::{Value, json};

/// What an endpoint asks of whoever calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing: anybody may.
    Nothing,
    /// That we know them, whatever they may do.
    Known,
    /// One of these scopes.
    AnyOf(&'static [Scope]),
}

/// The projects that somebody sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Projects {
    /// Every one, those that are yet to come included.
    #[default]
    All,
    /// These.
    Only(Arc<[String]>),
}

impl Projects {
    /// For statements: `$n::text[] is null or project = any($n)`.
    #[must_use]
    pub fn filter(&self) -> Option<&[String]> {
        match self {
            Self::All => None,
            Self::Only(names) => Some(names),
        }
    }

    /// Whether this one is among them.
    #[must_use]
    pub fn contains(&self, project: &str) -> bool {
        self.filter()
            .is_none_or(|names| names.iter().any(|name| name == project))
    }

    /// Whether each of the others is among them.
    #[must_use]
    pub fn include(&self, others: &Self) -> bool {
        match (self, others) {
            (Self::All, _) => true,
            (Self::Only(_), Self::All) => false,
            (Self::Only(_), Self::Only(names)) => names.iter().all(|name| self.contains(name)),
        }
    }
}

impl From<Option<Vec<String>>> for Projects {
    fn from(names: Option<Vec<String>>) -> Self {
        names.map_or(Self::All, |names| Self::Only(names.into()))
    }
}

/// Who asks; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal(Arc<Identity>);

/// What is known of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// How they were let in.
    pub kind: ActorKind,
    /// Name of their token.
    pub name: String,
    /// Their token.
    pub token: Option<TokenId>,
    /// Their browser's session.
    pub session: Option<SessionId>,
    /// What they may do.
    pub scopes: Vec<Scope>,
    /// The projects that they see.
    pub projects: Projects,
    /// When what they showed ends.
    pub expires_at: Option<DateTime<Utc>>,
}

impl From<Identity> for Principal {
    fn from(identity: Identity) -> Self {
        Self(Arc::new(identity))
    }
}

impl std::ops::Deref for Principal {
    type Target = Identity;

    fn deref(&self) -> &Identity {
        &self.0
    }
}

impl Principal {
    /// A program or browser of this machine, where the coordinator serves this machine alone.
    #[must_use]
    pub fn local() -> Self {
        Self::without_token(ActorKind::Local)
    }

    /// Somebody who works on the database itself.
    #[must_use]
    pub fn console() -> Self {
        Self::without_token(ActorKind::Console)
    }

    fn without_token(kind: ActorKind) -> Self {
        Self::from(Identity {
            kind,
            name: kind.as_str().to_owned(),
            token: None,
            session: None,
            scopes: vec![Scope::Admin],
            projects: Projects::All,
            expires_at: None,
        })
    }

    /// Whether one of their scopes includes this one.
    #[must_use]
    pub fn has(&self, wanted: Scope) -> bool {
        self.scopes.iter().any(|scope| scope.includes(wanted))
    }

    /// Whether they may do what needs this.
    #[must_use]
    pub fn satisfies(&self, need: Need) -> bool {
        match need {
            Need::Nothing | Need::Known => true,
            Need::AnyOf(scopes) => scopes.iter().any(|&scope| self.has(scope)),
        }
    }

    /// Whether they may do what only an administrator of everything may.
    #[must_use]
    pub fn is_admin_of_all(&self) -> bool {
        self.has(Scope::Admin) && self.projects == Projects::All
    }

    /// Whether they may hand out these scopes and projects: nobody gives more than they have.
    #[must_use]
    pub fn may_grant(&self, scopes: &[Scope], projects: &Projects) -> bool {
        scopes.iter().all(|&scope| self.has(scope)) && self.projects.include(projects)
    }

    /// A word that is the same for all requests of one holder, whichever way they come: for limits of rates.
    #[must_use]
    pub fn key(&self) -> String {
        self.token
            .map_or_else(|| self.kind.as_str().to_owned(), |token| token.to_string())
    }

    /// Who they are, in their own words.
    #[must_use]
    pub fn me(&self) -> Me {
        Me {
            kind: self.kind,
            name: self.name.clone(),
            token: self.token,
            scopes: self.scopes.clone(),
            projects: self.projects.filter().map(<[String]>::to_vec),
            expires_at: self.expires_at,
        }
    }

    /// Fills in the project of an experiment that names none, where only one can be meant.
    ///
    /// # Errors
    /// What is wrong with the one named, or why one has to be.
    pub fn place(&self, document: &mut Value) -> Result<(), Box<FieldProblem>> {
        let Some(allowed) = self.projects.filter() else {
            return Ok(());
        };
        let Some(fields) = document.as_object_mut() else {
            return Ok(());
        };
        let given = match fields.get("project") {
            // Another type is the spec's own mistake.
            Some(Value::String(name)) => Some(name.clone()),
            Some(Value::Null) | None => None,
            Some(_) => return Ok(()),
        };
        let problem = |detail: String| {
            Box::new(FieldProblem {
                pointer: "/project".to_owned(),
                detail,
                given: given.as_ref().map(|name| json!(name)),
                allowed: Some(allowed.join(", ")),
                nearest: None,
            })
        };
        match (&given, allowed) {
            (Some(name), _) if self.projects.contains(name) => Ok(()),
            (Some(name), _) => Err(problem(format!("project `{name}` is not among your token's"))),
            (None, [only]) => {
                fields.insert("project".to_owned(), json!(only));
                Ok(())
            }
            (None, _) if self.projects.contains(DEFAULT_PROJECT) => Ok(()),
            (None, _) => Err(problem(
                "your token has several projects: say which one is meant".to_owned(),
            )),
        }
    }
}

/// Who changes something, and by which request: what the audit trail has of them.
#[derive(Clone, Debug)]
pub struct Actor {
    /// Who.
    pub principal: Principal,
    /// Names the request in the log.
    pub request_id: Option<String>,
    recorded: Arc<AtomicBool>,
}

impl Actor {
    /// Somebody, by a request.
    #[must_use]
    pub fn new(principal: Principal, request_id: Option<String>) -> Self {
        Self {
            principal,
            request_id,
            recorded: Arc::default(),
        }
    }

    /// Somebody who works on the database itself.
    #[must_use]
    pub fn console() -> Self {
        Self::new(Principal::console(), None)
    }

    /// Notes that the audit trail has an entry for this request.
    pub fn set_recorded(&self) {
        self.recorded.store(true, Ordering::Relaxed);
    }

    /// Whether the audit trail has an entry for this request.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.recorded.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(projects: &[&str]) -> Principal {
        Principal::from(Identity {
            kind: ActorKind::Token,
            name: "t".to_owned(),
            token: Some(TokenId::new()),
            session: None,
            scopes: vec![Scope::Submit],
            projects: Projects::from(Some(projects.iter().map(|&name| name.to_owned()).collect())),
            expires_at: None,
        })
    }

    fn placed(principal: &Principal, mut document: Value) -> Result<Value, Box<FieldProblem>> {
        principal
            .place(&mut document)
            .map(|()| document["project"].clone())
    }

    #[test]
    fn scopes_include_what_is_weaker_and_nothing_else() {
        let table = [
            (Scope::Admin, [true, true, true, true]),
            (Scope::Submit, [false, true, true, false]),
            (Scope::Read, [false, false, true, false]),
            (Scope::Worker, [false, false, false, true]),
        ];
        for (scope, included) in table {
            assert_eq!(
                Scope::ALL.map(|wanted| scope.includes(wanted)),
                included,
                "{scope}"
            );
        }
    }

    #[test]
    fn an_experiment_goes_where_its_token_may_put_it() {
        let one = limited(&["arm"]);
        assert_eq!(placed(&one, json!({})), Ok(json!("arm")));
        assert_eq!(placed(&one, json!({ "project": "arm" })), Ok(json!("arm")));
        let refused = placed(&one, json!({ "project": "leg" })).unwrap_err();
        assert_eq!(
            (refused.pointer.as_str(), refused.given),
            ("/project", Some(json!("leg")))
        );

        let several = limited(&["arm", "leg"]);
        assert_eq!(
            placed(&several, json!({})).unwrap_err().allowed.as_deref(),
            Some("arm, leg")
        );
        assert_eq!(placed(&several, json!({ "project": "leg" })), Ok(json!("leg")));
        assert_eq!(
            placed(&limited(&["arm", DEFAULT_PROJECT]), json!({})),
            Ok(Value::Null)
        );
        assert_eq!(
            placed(&Principal::local(), json!({ "project": "new" })),
            Ok(json!("new"))
        );
    }

    #[test]
    fn nobody_grants_more_than_they_have() {
        let one = limited(&["arm"]);
        let projects = |names: &[&str]| Projects::from(Some(names.iter().map(|&n| n.to_owned()).collect()));
        assert!(one.may_grant(&[Scope::Read], &projects(&["arm"])));
        assert!(!one.may_grant(&[Scope::Admin], &projects(&["arm"])));
        assert!(!one.may_grant(&[Scope::Read], &projects(&["arm", "leg"])));
        assert!(!one.may_grant(&[Scope::Read], &Projects::All));
        assert!(Principal::local().may_grant(&Scope::ALL, &Projects::All));
    }
}
