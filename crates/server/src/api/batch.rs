//! Several requests in one, carried out one after the other.

use super::body::parse_body;
use super::{Call, Method};
use crate::answer::ApiError;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Requests of one batch.
const REQUESTS_MAX: usize = 100;
/// How many of the largest messages a batch may be as large as.
pub(super) const MESSAGES_MAX: usize = 16;

#[derive(Debug, Deserialize)]
struct BatchBody<'a> {
    #[serde(borrow)]
    requests: Vec<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
}

impl Call<'_> {
    /// Each stands for itself: what is refused is told in its place, and the next is carried out.
    pub(super) async fn batch(&self, body: &[u8]) -> Result<String, ApiError> {
        if self.id.is_some() {
            let message = "the header Idempotency-Key cannot stand for several publications: each has its own \"idempotency_key\"";
            return Err(ApiError::bad_request(message));
        }
        let BatchBody { requests } = parse_body(body)?;
        if requests.is_empty() || requests.len() > REQUESTS_MAX {
            let message = format!("\"requests\" has {} elements, not 1 to {REQUESTS_MAX}", requests.len());
            return Err(ApiError::bad_request(message));
        }
        let mut results = Vec::with_capacity(requests.len());
        for request in requests {
            let result = self.one(request.get().as_bytes()).await;
            results.push(result.unwrap_or_else(|error| serde_json::json!({ "error": error.json() }).to_string()));
        }
        Ok(format!("{{\"results\":[{}]}}", results.join(",")))
    }

    async fn one(&self, request: &[u8]) -> Result<String, ApiError> {
        let Named { method } = parse_body(request)?;
        match Method::find(&method) {
            Some(Method::Batch) => Err(ApiError::bad_request("a batch cannot hold a batch")),
            // A future of this one's own kind needs a place of its own.
            Some(method) => Box::pin(self.run(method, request)).await,
            None => {
                let shown: String = method.chars().take(50).collect();
                Err(ApiError::bad_request(format!("\"method\": there is no {shown:?}")))
            }
        }
    }
}
