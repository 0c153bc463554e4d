//! Large files in parts, so that an outage costs one part and not the file.
//!
//! ```text
//! POST  /worker/uploads                    what it will be: how far it is, 0 at first
//! PATCH /worker/uploads/{id}?first_byte=…  the next part, again and again
//! POST  /worker/checkpoints?…&upload={id}  what it is; without a body (artifacts likewise)
//! ```
//!
//! Whoever lost an answer, or the connection, begins again with the same content and is told where to go on. Parts
//! are kept for a day after the last one came. All calls carry the attempt's fencing token; one that is stale changes
//! nothing.

use serde::{Deserialize, Serialize};

use crate::id::{AttemptId, FencingToken, UploadId};

/// Most bytes of a file.
pub const MAX_UPLOAD_BYTES: u64 = 2 << 30;
/// Most bytes of a part.
pub const UPLOAD_PART_BYTES: u64 = 16 << 20;
/// Uploads that an attempt may have open at once.
pub const MAX_OPEN_UPLOADS: usize = 4;

/// Body of `POST /worker/uploads`. Safe to repeat: the same content is the same upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BeginUpload {
    /// The attempt that sends it.
    pub attempt: AttemptId,
    /// Its fencing token.
    pub token: FencingToken,
    /// SHA-256 of the whole content, 64 hex digits.
    pub sha256: String,
    /// Length of the whole content.
    pub size_bytes: u64,
}

/// How far an upload is: the answer to its beginning and to each part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UploadProgress {
    /// The upload.
    pub upload: UploadId,
    /// How many bytes are there: the next part begins with this byte.
    pub offset: u64,
    /// Most bytes of a part.
    pub part_bytes: u64,
}

/// Query of `PATCH /worker/uploads/{id}`; the body is the part, `application/octet-stream`. It is refused (409,
/// `offset_mismatch`) where it does not begin with the byte that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema, utoipa::IntoParams))]
pub struct UploadPart {
    /// The attempt that sends it.
    pub attempt: AttemptId,
    /// Its fencing token.
    pub token: FencingToken,
    /// Where it begins.
    pub first_byte: u64,
}
