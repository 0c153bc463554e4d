//! Hides secrets in texts that are kept and shown: log lines and what they quote.
//!
//! Both sides apply it: the worker so that a secret does not leave the machine, the coordinator because it cannot
//! know what a worker does. It knows the forms of secrets and the names that people give them; what looks like
//! anything else it cannot tell from a run's own words.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex_lite::Regex;

/// What stands in a secret's place.
pub const MASK: &str = "•••";

/// What a secret looks like, and what is put in its place; `$1` is what may stay of it.
const FORMS: [(&str, &str); 9] = [
    // Keys in PEM, whole or cut.
    (
        r"(-----BEGIN [A-Z ]*PRIVATE KEY-----)[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)",
        "$1 ••• $2",
    ),
    // Credentials of HTTP.
    (
        r#"(?i)\b(authorization["']?\s*[:=]\s*["']?(?:bearer|basic|digest|token)\s+)[^\s"',•]+"#,
        "$1•••",
    ),
    (r"(?i)\b(bearer\s+)[A-Za-z0-9+/._~=-]{16,}", "$1•••"),
    // Passwords in URLs.
    (r"\b([A-Za-z][A-Za-z0-9+.-]*://[^\s/:@]*:)[^\s/@]+@", "$1•••@"),
    // Ours; names of crates and metrics, which begin so too, have no such long part.
    (
        r"\b(motifs?_)[A-Za-z0-9_-]*?[A-Za-z0-9]{16,}[A-Za-z0-9_-]*",
        "$1•••",
    ),
    // Of Amazon, GitHub, GitLab, Slack, OpenAI and their like: a known beginning, then a long word.
    (
        r"\b(AKIA|ASIA|gh[oprsu]_|github_pat_|glpat-|xox[abprs]-|sk-|hf_|npm_|pypi-)[A-Za-z0-9_-]{12,}",
        "$1•••",
    ),
    // JSON web tokens.
    (
        r"\b(eyJ)[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
        "$1•••",
    ),
    // Signatures in the queries of signed URLs.
    (
        r"(?i)([?&](?:x-amz-signature|x-amz-security-token|x-goog-signature|sig|signature)=)[^&\s]+",
        "$1•••",
    ),
    // Whatever is called a secret: name, then `=` or `:`, then a value in quotes or up to a blank.
    (
        r#"(?i)([a-z0-9_.-]*(?:password|passwd|secret|token|api[_-]?key|access[_-]?key|credential)[a-z0-9_.-]*["']?\s*[:=]\s*)(?:"[^"]*"|'[^']*'|[^\s,;&"'}\])•]+)"#,
        "$1•••",
    ),
];

/// Fragments, in lower case, one of which stands in every text that has a secret; most texts have none.
const SIGNS: [&str; 26] = [
    "private key",
    "authorization",
    "bearer",
    "://",
    "motif",
    "akia",
    "asia",
    "ghp_",
    "gho_",
    "ghs_",
    "ghr_",
    "ghu_",
    "github_pat_",
    "glpat-",
    "xox",
    "sk-",
    "hf_",
    "npm_",
    "pypi-",
    "eyj",
    "sig",
    "pass",
    "secret",
    "token",
    "key",
    "credential",
];

static SECRETS: LazyLock<Vec<(Regex, &str)>> =
    LazyLock::new(|| FORMS.iter().map(|(form, kept)| (compile(form), *kept)).collect());

fn compile(pattern: &str) -> Regex {
    // The patterns are fixed, and a test uses each.
    Regex::new(pattern).unwrap_or_else(|error| unreachable!("{error}"))
}

/// The text without the secrets in it.
#[must_use]
pub fn masked(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    let lower = text.to_ascii_lowercase();
    if !SIGNS.iter().any(|sign| lower.contains(sign)) {
        return text;
    }
    for (secret, kept) in &*SECRETS {
        if let Cow::Owned(hidden) = secret.replace_all(&text, *kept) {
            text = Cow::Owned(hidden);
        }
    }
    text
}

/// The value of a field, hidden whole where its name says that it is secret.
#[must_use]
pub fn masked_field<'a>(name: &str, value: &'a str) -> Cow<'a, str> {
    let named = format!("{name}=x");
    if value.is_empty() || masked(&named) == named {
        masked(value)
    } else {
        Cow::Borrowed(MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_every_known_form_are_hidden_and_what_is_around_them_stays() {
        for (text, shown) in [
            (
                "Authorization: Bearer abcdefgh12345678",
                "Authorization: Bearer •••",
            ),
            (
                "sent with bearer abcdefgh.12345678 twice",
                "sent with bearer ••• twice",
            ),
            (
                "GET http://lab:hunter2@db:5432/motif failed",
                "GET http://lab:•••@db:5432/motif failed",
            ),
            ("postgres://lab:p%40ss@db/x", "postgres://lab:•••@db/x"),
            ("the token motif_s3cr3tS3cr3tS3cr3t", "the token motif_•••"),
            ("key AKIAIOSFODNN7EXAMPLE is used", "key AKIA••• is used"),
            (
                "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG, region = eu",
                "aws_secret_access_key = •••, region = eu",
            ),
            (
                r#"{"password": "a b c", "user": "x"}"#,
                r#"{"password": •••, "user": "x"}"#,
            ),
            ("API_KEY=12345;next=1", "API_KEY=•••;next=1"),
            ("ghp_0123456789abcdefghij", "ghp_•••"),
            ("jwt eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl.", "jwt eyJ•••."),
            (
                "https://b.s3/x?X-Amz-Signature=0a1b2c&a=1",
                "https://b.s3/x?X-Amz-Signature=•••&a=1",
            ),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- end",
                "-----BEGIN RSA PRIVATE KEY----- ••• -----END RSA PRIVATE KEY----- end",
            ),
        ] {
            assert_eq!(masked(text), shown);
            assert_eq!(masked(shown), shown, "masking twice changes nothing");
        }
    }

    #[test]
    fn words_of_a_run_stay_as_they_are() {
        for text in [
            "evaluated after batch 600: 0.031 m, the best so far",
            "kept checkpoint best after 600 batches, 1.2 MB",
            "cannot reach the coordinator at http://127.0.0.1:8080: connection refused",
            "fencing token 3 is no longer valid",
            "basic understanding of a bearer somewhere",
            "motif_worker::attempt, motif_worker_batch_duration_seconds_bucket",
            "see https://example.org/a:b@c",
        ] {
            assert!(
                matches!(masked(text), Cow::Borrowed(_)),
                "{text}: {}",
                masked(text)
            );
        }
    }

    #[test]
    fn a_field_is_hidden_for_its_name_or_for_its_value() {
        assert_eq!(masked_field("db_password", "hunter2"), MASK);
        assert_eq!(masked_field("server", "http://a:b@c"), "http://a:•••@c");
        assert_eq!(masked_field("batch", "12"), "12");
        assert_eq!(masked_field("token", ""), "");
    }
}
