//! The kinds of problems: one list of codes, each with its status and what to do about it.

use axum::Json;
use motif_proto::problem::{ProblemKind, ProblemList};

struct Kind {
    status: u16,
    code: &'static str,
    title: &'static str,
    meaning: &'static str,
}

const fn kind(status: u16, code: &'static str, title: &'static str, meaning: &'static str) -> Kind {
    Kind {
        status,
        code,
        title,
        meaning,
    }
}

/// By status, then by code. A test compares it with what the code answers.
const KINDS: &[Kind] = &[
    kind(
        400,
        "ambiguous_seed",
        "Seeds do not pair",
        "A group of runs has several with one seed: narrow it down.",
    ),
    kind(
        400,
        "invalid_cursor",
        "Invalid cursor",
        "The cursor was not made for this list: begin without one, or ask with the filters and the sort that it is for.",
    ),
    kind(
        400,
        "invalid_id",
        "Invalid id",
        "An id in the address is not a UUID.",
    ),
    kind(
        400,
        "invalid_idempotency_key",
        "Invalid Idempotency-Key",
        "The header has to be given once, with 1 to 255 visible ASCII characters.",
    ),
    kind(
        400,
        "invalid_json",
        "The body is not JSON",
        "The detail says where it stops being JSON.",
    ),
    kind(
        400,
        "invalid_query",
        "Invalid query",
        "A parameter is unknown or out of range; the detail names it and what would be right.",
    ),
    kind(
        400,
        "invalid_toml",
        "The body is not TOML",
        "The detail says where it stops being TOML.",
    ),
    kind(
        400,
        "too_many_curves",
        "Too many curves",
        "Ask for fewer runs, series or points at once.",
    ),
    kind(
        400,
        "too_many_runs",
        "Too many runs",
        "Statistics are made of a bounded number of runs: narrow the group down.",
    ),
    kind(
        400,
        "upload_cut",
        "Upload cut short",
        "The body ended before its end, or cannot be decompressed: send it again.",
    ),
    kind(
        401,
        "invalid_token",
        "Who are you?",
        "The token or the session is not known here, has expired or was revoked.",
    ),
    kind(
        401,
        "token_required",
        "Who are you?",
        "Send a token as `Authorization: Bearer`, or sign in.",
    ),
    kind(
        403,
        "cross_site_request",
        "Foreign page",
        "Changes by a session carry a header that only our own pages send.",
    ),
    kind(
        403,
        "foreign_origin",
        "Foreign origin",
        "A page of another site asked for a change.",
    ),
    kind(
        403,
        "limited_to_projects",
        "Not allowed",
        "The token is for some projects, and this concerns others.",
    ),
    kind(
        403,
        "missing_scope",
        "Not allowed",
        "The token lacks a scope that the detail names.",
    ),
    kind(404, "not_found", "Not found", "There is nothing at this address."),
    kind(
        404,
        "unknown_artifact",
        "No such artifact",
        "A newer file of the same name may have replaced it.",
    ),
    kind(
        404,
        "unknown_attempt",
        "No such attempt",
        "Only workers meet this: the run is not theirs.",
    ),
    kind(
        404,
        "unknown_checkpoint",
        "No such checkpoint",
        "A newer one may have replaced it, or the run has none yet.",
    ),
    kind(
        404,
        "unknown_project",
        "No such project",
        "There is no project of this name.",
    ),
    kind(404, "unknown_run", "No such run", "There is no run with this id."),
    kind(
        404,
        "unknown_study",
        "No such study",
        "There is no study with this id.",
    ),
    kind(
        404,
        "unknown_token",
        "No such token",
        "There is no token with this id.",
    ),
    kind(
        404,
        "unknown_upload",
        "No such upload",
        "Only workers meet this: the upload ended or was given up. Begin it anew.",
    ),
    kind(
        404,
        "unknown_webhook",
        "No such webhook",
        "There is no webhook with this id.",
    ),
    kind(
        404,
        "unknown_worker",
        "No such worker",
        "The worker has to register again.",
    ),
    kind(
        405,
        "method_not_allowed",
        "Method not allowed",
        "The header Allow says what the address knows.",
    ),
    kind(
        409,
        "offset_mismatch",
        "Not the part that comes next",
        "Begin the upload again with the same content: the answer says where it goes on.",
    ),
    kind(
        409,
        "project_exists",
        "The project exists",
        "Another project has this name.",
    ),
    kind(
        409,
        "request_running",
        "The request is being carried out",
        "A request with the same Idempotency-Key has not ended: ask again after Retry-After for its answer.",
    ),
    kind(
        409,
        "run_blocked",
        "The run cannot begin",
        "It depends on a run that did not succeed: try that one again first.",
    ),
    kind(
        409,
        "run_ended",
        "The run has ended",
        "What was asked for cannot be done to a run that has ended.",
    ),
    kind(
        409,
        "run_in_use",
        "Others need the run",
        "Others start from it or have yet to begin after it; the detail names some. Delete those before, or with it.",
    ),
    kind(
        409,
        "run_not_ended",
        "The run has not ended",
        "What was asked for can be done only to a run that has ended.",
    ),
    kind(
        409,
        "sequence_gap",
        "Metrics are missing",
        "A batch of metrics before this one has not come: the worker sends it first.",
    ),
    kind(
        409,
        "stale_lease",
        "Lease lost",
        "The run is in other hands or has ended; nothing was changed. The worker drops it.",
    ),
    kind(
        409,
        "token_name_taken",
        "The name is taken",
        "Another token has this name: choose one that says what it is for.",
    ),
    kind(
        409,
        "too_many_uploads",
        "Too many uploads",
        "The attempt has as many uploads open as it may have: finish one first.",
    ),
    kind(
        409,
        "too_many_webhooks",
        "Too many webhooks",
        "Remove one that is not needed any more.",
    ),
    kind(
        412,
        "changed_meanwhile",
        "Changed meanwhile",
        "Somebody changed it after the answer whose tag If-Match names: read it again, then decide anew.",
    ),
    kind(
        413,
        "too_large",
        "Too large",
        "The body is longer than this address accepts, after decompression.",
    ),
    kind(
        415,
        "unsupported_encoding",
        "Unsupported encoding",
        "Bodies are sent plain or compressed with gzip or zstd.",
    ),
    kind(
        415,
        "unsupported_media_type",
        "Unsupported media type",
        "The detail names the types that this address reads.",
    ),
    kind(
        416,
        "range_not_satisfiable",
        "No such range",
        "The content is shorter than the range that was asked for.",
    ),
    kind(
        421,
        "foreign_host",
        "Foreign host",
        "The coordinator answers only under this machine's own names.",
    ),
    kind(
        422,
        "checksum_mismatch",
        "Not the content announced",
        "An upload's length or hash is not what it announced; nothing was named. Send it again.",
    ),
    kind(
        422,
        "idempotency_key_reused",
        "Key of another request",
        "The Idempotency-Key was used for a request with another body: a new request needs a new key.",
    ),
    kind(
        422,
        "invalid_body",
        "Invalid body",
        "The body has the right form, and a field that cannot be accepted: the detail names it.",
    ),
    kind(
        422,
        "invalid_logs",
        "Invalid log lines",
        "Only workers meet this: the lines break a limit that the detail names.",
    ),
    kind(
        422,
        "invalid_metrics",
        "Invalid metrics",
        "The batch cannot be stored; the detail names the series.",
    ),
    kind(
        422,
        "invalid_spec",
        "Invalid spec",
        "The member `errors` has every field that is wrong, with what was given, what is allowed and the nearest name.",
    ),
    kind(
        422,
        "too_many_artifacts",
        "Too many artifacts",
        "The run has as many files as a run may have.",
    ),
    kind(
        422,
        "upload_too_long",
        "Not a part of the upload",
        "The part is empty or reaches past the end that was announced.",
    ),
    kind(
        429,
        "rate_limited",
        "Too many requests",
        "Wait for the seconds that Retry-After says.",
    ),
    kind(
        500,
        "internal",
        "Internal error",
        "The coordinator's fault: its log says more under the request's id.",
    ),
    kind(
        503,
        "crowded",
        "Too many wait",
        "Too many requests wait at once: ask again after Retry-After.",
    ),
    kind(
        503,
        "not_ready",
        "Not ready",
        "The member `errors` names what does not work: the database, its schema or the artifact store.",
    ),
    kind(
        503,
        "timeout",
        "Timeout",
        "The answer took too long: try again after Retry-After.",
    ),
    kind(
        503,
        "unavailable",
        "Unavailable",
        "The database or the artifact store does not answer, or the coordinator stops: try again after Retry-After.",
    ),
    kind(
        507,
        "storage_full",
        "Storage full",
        "There is no room; nothing was stored. Somebody has to make some: try again after Retry-After.",
    ),
];

/// List the kinds of problems that answers can be.
#[utoipa::path(
    get, path = "/problems", tag = "health", operation_id = "list_problems",
    responses((status = OK, body = ProblemList)),
)]
pub async fn list() -> Json<ProblemList> {
    let problems = KINDS.iter().map(|kind| ProblemKind {
        code: kind.code.to_owned(),
        status: kind.status,
        title: kind.title.to_owned(),
        meaning: kind.meaning.to_owned(),
    });
    Json(ProblemList {
        problems: problems.collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use axum::http::StatusCode;

    use super::*;

    /// Every `StatusCode::NAME, "code", "Title"` in the text of a source file.
    fn answered(text: &str, found: &mut BTreeSet<(u16, String, String)>) {
        for after in text.split("StatusCode::").skip(1) {
            let Some((name, rest)) = after.split_once(',') else {
                continue;
            };
            let mut words = rest.split('"');
            let (before, code, between, title) = (words.next(), words.next(), words.next(), words.next());
            let (Some(before), Some(code), Some(between), Some(title)) = (before, code, between, title)
            else {
                continue;
            };
            let follows = before.trim().is_empty() && between.trim() == ",";
            if let Some(status) = status(name).filter(|_| follows) {
                found.insert((status, code.to_owned(), title.to_owned()));
            }
        }
    }

    fn status(name: &str) -> Option<u16> {
        (400..600).find(|&status| {
            let reason = StatusCode::from_u16(status)
                .ok()
                .and_then(|status| status.canonical_reason());
            reason.is_some_and(|reason| {
                reason.to_uppercase().replace([' ', '-'], "_").replace('\'', "") == name
            })
        })
    }

    fn sources(folder: &Path, found: &mut BTreeSet<(u16, String, String)>) {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                sources(&path, found);
            } else if !path.ends_with("http/problems.rs") {
                answered(&std::fs::read_to_string(path).unwrap(), found);
            }
        }
    }

    #[test]
    fn every_code_that_is_answered_is_listed_once_with_its_status_and_title() {
        let mut answered = BTreeSet::new();
        sources(
            Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")),
            &mut answered,
        );
        assert!(answered.len() > 25, "the sources were not read: {answered:?}");
        let listed: Vec<_> = KINDS
            .iter()
            .map(|kind| (kind.status, kind.code.to_owned(), kind.title.to_owned()))
            .collect();
        assert!(listed.is_sorted(), "not by status and code");
        assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), answered);
    }
}
