//! Where a token is looked for, in which order, and which subprotocol is selected. What a token says is the directory's business.

use super::query::Query;
use super::{Refusal, RefusalCode};
use crate::Directory;
use http::{HeaderMap, header};
use std::borrow::Cow;
use switchboard_core::App;

pub(super) const NATIVE_SUBPROTOCOL: &str = "switchboard.v1.json";
/// Browsers fail a connection that was offered subprotocols and selects none, so the raw endpoints have one too.
pub(super) const RAW_SUBPROTOCOL: &str = "switchboard.v1.raw";
const TOKEN_PREFIX: &str = "switchboard.token.";

/// What the client offered, in its order of preference.
#[derive(Clone, Debug)]
pub(super) struct Subprotocols<'a>(Vec<&'a str>);

/// More is no client of ours.
const OFFERS_MAX: usize = 32;

impl<'a> Subprotocols<'a> {
    /// Reads the list, which may be spread over several headers (RFC 6455 §11.3.4).
    pub(super) fn parse(headers: &'a HeaderMap) -> Result<Self, Refusal> {
        let mut offers = Vec::new();
        for value in headers.get_all(header::SEC_WEBSOCKET_PROTOCOL) {
            let Ok(value) = value.to_str() else {
                return Err(bad("the header Sec-WebSocket-Protocol is not ASCII"));
            };
            for offer in value.split(',').map(str::trim).filter(|offer| !offer.is_empty()) {
                if offers.len() == OFFERS_MAX {
                    return Err(bad("the header Sec-WebSocket-Protocol lists more than 32 subprotocols"));
                }
                offers.push(offer);
            }
        }
        Ok(Self(offers))
    }

    /// The endpoint's subprotocol if it was offered. An offer that carries a token is never selected: the answer is logged by proxies.
    pub(super) fn select(&self, ours: &'static str) -> Option<&'static str> {
        self.0.contains(&ours).then_some(ours)
    }

    fn token(&self) -> Result<Option<&'a str>, Refusal> {
        let mut tokens = self.0.iter().filter_map(|offer| offer.strip_prefix(TOKEN_PREFIX));
        match (tokens.next(), tokens.next()) {
            (_, Some(_)) => Err(bad("the header Sec-WebSocket-Protocol carries two tokens")),
            (token, None) => Ok(token),
        }
    }
}

/// The token that was shown, from the first place that has one: the header, the subprotocols, the cookie (where the target takes one), the query.
pub(super) fn find<'a>(
    headers: &'a HeaderMap,
    subprotocols: &Subprotocols<'a>,
    query: &Query<'a>,
    takes_cookie: bool,
    app: &App,
    directory: &dyn Directory,
) -> Result<Option<Cow<'a, str>>, Refusal> {
    if let Some(token) = bearer(headers)? {
        return Ok(Some(Cow::Borrowed(token)));
    }
    if let Some(token) = subprotocols.token()? {
        return Ok(Some(Cow::Borrowed(token)));
    }
    if takes_cookie
        && let Some(name) = directory.token_cookie(&app.id)
        && let Some(token) = cookie(headers, &name)
    {
        return Ok(Some(Cow::Borrowed(token)));
    }
    let token = query.value("token")?;
    if token.is_some() && !directory.query_token_allowed(&app.id) {
        let message = "a token in the address is not allowed here, because proxies log it: send the header \
                       'Authorization: Bearer TOKEN' or offer the subprotocol 'switchboard.token.TOKEN'";
        return Err(Refusal::new(RefusalCode::Unauthenticated, message));
    }
    Ok(token)
}

/// Other schemes than Bearer are a proxy's own and do not concern us.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut found = None;
    for value in headers.get_all(header::AUTHORIZATION) {
        let Ok(value) = value.to_str() else {
            return Err(bad("the header Authorization is not ASCII"));
        };
        let Some((scheme, token)) = value.split_once(' ') else { continue };
        if scheme.eq_ignore_ascii_case("bearer") && found.replace(token.trim()).is_some() {
            return Err(bad("the header Authorization carries two tokens"));
        }
    }
    Ok(found)
}

/// The value of the first cookie with this name (RFC 6265 §4.2). What is no cookie is somebody else's.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = pairs.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(known, value)| *known == name && !value.is_empty())?;
    Some(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
}

fn bad(message: &'static str) -> Refusal {
    Refusal::new(RefusalCode::BadRequest, message)
}
