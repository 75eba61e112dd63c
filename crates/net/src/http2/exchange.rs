//! An ordinary request over HTTP/2: its body, and its response.

use axum::body::Body;
use bytes::Bytes;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderName, HeaderValue, Response, header};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame};
use std::time::SystemTime;

/// The body of an ordinary request. The client may send more as it is taken.
#[derive(Debug)]
pub(super) struct RequestBody(RecvStream);

impl RequestBody {
    pub(super) fn new(recv: RecvStream) -> Self {
        Self(recv)
    }
}

impl hyper::body::Body for RequestBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let data = ready!(self.0.poll_data(cx));
        if let Some(Ok(data)) = &data {
            // An error is a stream that is closed already: there is no window to open.
            let _ = self.0.flow_control().release_capacity(data.len());
        }
        // What trailers say is of no interest to anybody here.
        Poll::Ready(data.map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}

/// The head of a response as HTTP/2 wants it.
pub(super) fn head(mut response: Response<Body>) -> Response<()> {
    // RFC 9113 §8.2.2: these belong to a connection of HTTP/1.1.
    for name in HTTP1_ONLY {
        response.headers_mut().remove(name);
    }
    if let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now())) {
        response.headers_mut().entry(header::DATE).or_insert(date);
    }
    response.map(|_| ())
}

const HTTP1_ONLY: [HeaderName; 4] =
    [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE, HeaderName::from_static("keep-alive")];

/// Sends a whole response, its body as the client's window allows.
pub(super) async fn respond(
    mut response: Response<Body>,
    sender: &mut SendResponse<Bytes>,
) -> Result<(), Box<dyn core::error::Error + Send + Sync>> {
    let mut body = core::mem::take(response.body_mut());
    if let Some(length) = body.size_hint().exact() {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert(length.into());
    }
    let ends = body.is_end_stream();
    let mut send = sender.send_response(head(response), ends)?;
    if ends {
        return Ok(());
    }
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            send_data(&mut send, data).await?;
        }
    }
    Ok(send.send_data(Bytes::new(), true)?)
}

async fn send_data(send: &mut SendStream<Bytes>, mut data: Bytes) -> Result<(), h2::Error> {
    while !data.is_empty() {
        send.reserve_capacity(data.len());
        while send.capacity() == 0 {
            match poll_fn(|cx| send.poll_capacity(cx)).await {
                Some(room) => room?,
                None => return Err(h2::Reason::CANCEL.into()),
            };
        }
        let room = send.capacity().min(data.len());
        send.send_data(data.split_to(room), false)?;
    }
    Ok(())
}
