//! The head of a server's HTTP response. Owns its parsing, and no opinion on it.

/// Headers that a head may have.
const HEADERS_MAX: usize = 256;

/// A response's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The headers, as they were sent.
    pub headers: Vec<(String, String)>,
}

/// Why what was received is no head of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what came is not HTTP: {0}")]
pub(crate) struct NotHttp(httparse::Error);

impl Response {
    /// A head and its length, or `None` while it is not whole.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, NotHttp> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(bytes).map_err(NotHttp)? {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial => return Ok(None),
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = response.headers.iter().map(|header| (header.name.to_owned(), text(header.value))).collect();
        Ok(Some((Self { status: response.code.unwrap_or_default(), headers }, length)))
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Whether a header's list has a word.
    pub(crate) fn lists(&self, name: &str, word: &str) -> bool {
        self.headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .flat_map(|(_, value)| value.split(','))
            .any(|item| item.trim().eq_ignore_ascii_case(word))
    }
}
