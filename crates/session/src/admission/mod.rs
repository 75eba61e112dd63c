//! The admission of a client: from the head of its request to an application, a dialect and rights, or to a refusal before anything else is answered.
//!
//! Knows nothing of the WebSocket handshake itself (keys, versions): that is `ws-proto`'s. Refusals name the culprit and never repeat a token.

mod origin;
mod plain;
mod proxies;
mod query;
mod route;
mod token;

pub use origin::{OriginPattern, OriginPatternError};
pub use plain::{Carrier, preflight};
pub use proxies::{Network, NetworkError, TrustedProxies};

use crate::Directory;
use core::net::IpAddr;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use query::Query;
use route::{Route, find_app};
use std::borrow::Cow;
use std::sync::Arc;
use switchboard_core::{App, ChannelName, Identity, Operations, Time};
use switchboard_dialects::Opening;
use token::Subprotocols;

/// The head of a request, as far as admission looks at it.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method. A WebSocket's is the handshake's business.
    pub method: &'a Method,
    /// The path, as sent.
    pub path: &'a str,
    /// What followed `?`, as sent.
    pub query: Option<&'a str>,
    /// All headers.
    pub headers: &'a HeaderMap,
    /// The other end of the socket.
    pub peer: IpAddr,
    /// Whether the socket is encrypted.
    pub secure: bool,
}

/// A client that may connect.
#[derive(Clone, Debug)]
pub struct Admission {
    /// Its application.
    pub app: Arc<App>,
    /// What it will speak.
    pub opening: Opening,
    /// What its token said; `None` if it showed none.
    pub identity: Option<Identity>,
    /// What it gets its messages by.
    pub carrier: Carrier,
    /// Headers of whatever answer it gets, for its browser.
    pub headers: HeaderMap,
    /// What the answer's `Sec-WebSocket-Protocol` says.
    pub subprotocol: Option<&'static str>,
    /// Its address, behind trusted proxies.
    pub client: IpAddr,
}

/// Why a client may not connect. Goes out as an HTTP response; with status 401 also `WWW-Authenticate: Bearer`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The response's status.
    pub status: StatusCode,
    /// The kind, for programs.
    pub code: RefusalCode,
    /// What is wrong and what to do, for people. Holds nothing of a token.
    pub message: Cow<'static, str>,
    /// Headers of the answer, for the client's browser.
    pub headers: Option<Box<HeaderMap>>,
}

/// The kinds of refusal of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCode {
    /// A header or a query parameter cannot be read.
    BadRequest,
    /// No channel can have this name.
    BadChannel,
    /// A token is needed.
    Unauthenticated,
    /// The token is malformed, wrongly signed, expired or for another application.
    BadToken,
    /// The page's origin may not connect.
    OriginNotAllowed,
    /// No grant covers the channel of the address.
    PermissionDenied,
    /// The application does not serve the protocol of the address.
    ProtocolDisabled,
    /// No application has this key, or there is no default application.
    UnknownApp,
    /// The address is not for this method.
    MethodNotAllowed,
}

impl RefusalCode {
    /// The code as text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::BadChannel => "bad_channel",
            Self::Unauthenticated => "unauthenticated",
            Self::BadToken => "bad_token",
            Self::OriginNotAllowed => "origin_not_allowed",
            Self::PermissionDenied => "permission_denied",
            Self::ProtocolDisabled => "protocol_disabled",
            Self::UnknownApp => "unknown_app",
            Self::MethodNotAllowed => "method_not_allowed",
        }
    }

    /// The status of a response with this code.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::BadRequest | Self::BadChannel => StatusCode::BAD_REQUEST,
            Self::Unauthenticated | Self::BadToken => StatusCode::UNAUTHORIZED,
            Self::OriginNotAllowed | Self::PermissionDenied | Self::ProtocolDisabled => StatusCode::FORBIDDEN,
            Self::UnknownApp => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        }
    }
}

impl Refusal {
    fn new(code: RefusalCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status: code.status(), code, message: message.into(), headers: None }
    }
}

/// Decides about a request. `Ok(None)`: its path is no client's.
///
/// # Errors
/// The refusal to answer with.
pub fn admit(
    request: &RequestHead<'_>,
    directory: &dyn Directory,
    proxies: &TrustedProxies,
    now: Time,
) -> Result<Option<Admission>, Refusal> {
    let Some(route) = Route::find(request.path, directory)? else { return Ok(None) };
    let plain = match &route {
        Route::Plain(plain) => Some(*plain),
        _ => None,
    };
    let mut headers = HeaderMap::new();
    let admitted = admit_to(route, request, directory, proxies, now, &mut headers);
    match admitted {
        Ok(admission) => Ok(Some(Admission { headers, ..admission })),
        Err(refusal) => {
            if let Some(plain) = plain
                && refusal.code == RefusalCode::MethodNotAllowed
            {
                headers.insert(header::ALLOW, plain.allow());
            }
            Err(Refusal { headers: (!headers.is_empty()).then(|| headers.into()), ..refusal })
        }
    }
}

/// `readable` becomes the headers of every answer from where the page is known to be allowed.
fn admit_to(
    route: Route<'_>,
    request: &RequestHead<'_>,
    directory: &dyn Directory,
    proxies: &TrustedProxies,
    now: Time,
    readable: &mut HeaderMap,
) -> Result<Admission, Refusal> {
    let query = Query::parse(request.query.unwrap_or_default())?;
    let app = route.app(&query, directory)?;
    // Without an application there is nothing to protect, and a page is told what is wrong as anybody is.
    if let Some(app) = &app {
        let origin = is_origin_allowed(request.headers, app, directory)?;
        if let Route::Plain(plain) = &route {
            *readable = plain::readable_by(origin.as_ref());
            plain.check_method(request.method)?;
        }
    }
    let (app, mut target) = route.resolve(app, &query, request.headers)?;
    target.check_served(&app, directory)?;
    let subprotocols = Subprotocols::parse(request.headers)?;
    let takes_cookie = target.carrier() != Carrier::WebSocket;
    let identity = match token::find(request.headers, &subprotocols, &query, takes_cookie, &app, directory)? {
        Some(token) => Some(authenticate(&app, &token, directory, now)?),
        None => None,
    };
    if target.must_come_with_token() {
        check_known(&app, identity.as_ref(), target.carrier())?;
    }
    for channel in target.channels() {
        check_channel(&app, identity.as_ref(), channel, now)?;
    }
    Ok(Admission {
        subprotocol: target.subprotocol().and_then(|ours| subprotocols.select(ours)),
        carrier: target.carrier(),
        headers: HeaderMap::new(),
        opening: target.opening(&query)?,
        client: proxies.client(request.peer, request.headers),
        app,
        identity,
    })
}

/// The origin that a page may connect from. Without the header it is no browser, or a page of the same origin, and what it may do follows from its
/// token alone.
fn is_origin_allowed(
    headers: &HeaderMap,
    app: &App,
    directory: &dyn Directory,
) -> Result<Option<HeaderValue>, Refusal> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else { return Ok(None) };
    let allowed =
        origins.next().is_none() && origin.to_str().is_ok_and(|origin| directory.origin_allowed(&app.id, origin));
    if allowed {
        return Ok(Some(origin.clone()));
    }
    let shown: String = String::from_utf8_lossy(origin.as_bytes()).chars().take(200).collect();
    let message = format!("pages of origin {shown:?} may not connect: add it to the application's origins");
    Err(Refusal::new(RefusalCode::OriginNotAllowed, message))
}

fn authenticate(app: &App, token: &str, directory: &dyn Directory, now: Time) -> Result<Identity, Refusal> {
    directory.authenticate(&app.id, token, now).map_err(|reject| Refusal::new(RefusalCode::BadToken, reject.message))
}

/// A connection that consists of its address cannot authenticate later.
fn check_known(app: &App, identity: Option<&Identity>, carrier: Carrier) -> Result<(), Refusal> {
    if identity.is_some() || app.anonymous.is_some() {
        return Ok(());
    }
    let message = match carrier {
        Carrier::WebSocket => {
            "a token is needed: send the header 'Authorization: Bearer TOKEN', or offer the subprotocols \
             'switchboard.v1.raw' and 'switchboard.token.TOKEN'"
        }
        _ => "a token is needed: send the header 'Authorization: Bearer TOKEN', or the application's token cookie",
    };
    Err(Refusal::new(RefusalCode::Unauthenticated, message))
}

/// It need not begin if it may not read.
fn check_channel(app: &App, identity: Option<&Identity>, channel: &ChannelName, now: Time) -> Result<(), Refusal> {
    // Who has a channel of its own is the session's to say.
    if channel.is_own() || app.allows(identity, now, channel, Operations::SUBSCRIBE) {
        return Ok(());
    }
    let message = format!("no right to subscribe to channel '{channel}'");
    Err(Refusal::new(RefusalCode::PermissionDenied, message))
}

#[cfg(test)]
mod tests;
