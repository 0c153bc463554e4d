//! The artifact store, measured: whatever lies beneath, a directory or a bucket.

use std::fmt;
use std::ops::Range;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use motif_proto::monitoring::coordinator::{STORAGE_BYTES, STORAGE_DURATION};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartId, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
    UploadPart,
};

use super::observe;

/// A store whose operations are measured.
#[derive(Debug)]
pub struct Measured<S>(pub S);

impl<S: ObjectStore> fmt::Display for Measured<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

async fn timed<T>(op: &'static str, operation: impl Future<Output = Result<T>>) -> Result<T> {
    let begun = Instant::now();
    let done = operation.await;
    record(op, begun, is_ok(&done));
    done
}

/// That something is not there is an answer.
fn is_ok<T>(done: &Result<T>) -> bool {
    matches!(
        done,
        Ok(_) | Err(object_store::Error::NotFound { .. } | object_store::Error::AlreadyExists { .. })
    )
}

fn record(op: &'static str, begun: Instant, ok: bool) {
    let outcome = if ok { "ok" } else { "failed" };
    observe(STORAGE_DURATION, &[op, outcome], begun.elapsed());
}

fn count(direction: &'static str, bytes: usize) {
    super::count(STORAGE_BYTES, &[direction], bytes as u64);
}

#[async_trait]
impl<S: ObjectStore> ObjectStore for Measured<S> {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let length = payload.content_length();
        let put = timed("put", self.0.put_opts(location, payload, options)).await;
        if put.is_ok() {
            count("in", length);
        }
        put
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = timed("put_begin", self.0.put_multipart_opts(location, options)).await?;
        Ok(Box::new(MeasuredUpload(upload)))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let mut got = timed("get", self.0.get_opts(location, options)).await?;
        // A file that is read as a stream anyway; a file handed out as such is not ours to count.
        if let GetResultPayload::Stream(stream) = got.payload {
            let counted = stream.inspect_ok(|piece: &Bytes| count("out", piece.len()));
            got.payload = GetResultPayload::Stream(counted.boxed());
        } else {
            let length = got.range.end.saturating_sub(got.range.start);
            count("out", usize::try_from(length).unwrap_or(usize::MAX));
        }
        Ok(got)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let got = timed("get", self.0.get_ranges(location, ranges)).await?;
        count("out", got.iter().map(Bytes::len).sum());
        Ok(got)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let mut last = Instant::now();
        let deleted = self.0.delete_stream(locations).inspect(move |deleted| {
            record("delete", last, is_ok(deleted));
            last = Instant::now();
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        timed("list", self.0.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        timed("copy", self.0.copy_opts(from, to, options)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        timed("rename", self.0.rename_opts(from, to, options)).await
    }
}

#[async_trait]
impl<S: MultipartStore> MultipartStore for Measured<S> {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        timed("put_begin", self.0.create_multipart(path)).await
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &MultipartId,
        index: usize,
        data: PutPayload,
    ) -> Result<PartId> {
        let length = data.content_length();
        let put = timed("put_part", self.0.put_part(path, id, index, data)).await;
        if put.is_ok() {
            count("in", length);
        }
        put
    }

    async fn complete_multipart(
        &self,
        path: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        timed("put_end", self.0.complete_multipart(path, id, parts)).await
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        timed("abort", self.0.abort_multipart(path, id)).await
    }
}

#[derive(Debug)]
struct MeasuredUpload(Box<dyn MultipartUpload>);

#[async_trait]
impl MultipartUpload for MeasuredUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let length = data.content_length();
        let part = self.0.put_part(data);
        Box::pin(async move {
            let put = timed("put_part", part).await;
            if put.is_ok() {
                count("in", length);
            }
            put
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        timed("put_end", self.0.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        timed("abort", self.0.abort()).await
    }
}
