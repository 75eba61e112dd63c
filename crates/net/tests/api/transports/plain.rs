//! Plain HTTP: the forms in which it brings messages, over both versions.

use super::{Ability, Listener, Refusal, Transport, Wish};
use crate::plain::{Http, http2};
use bytes::Bytes;
use core::marker::PhantomData;
use core::net::SocketAddr;
use h2::RecvStream;
use h2::client::{ResponseFuture, SendRequest};
use http::Request;
use serde_json::{Value, json};
use std::collections::VecDeque;
use switchboard_net::{Server, Settings};

/// A version of HTTP.
pub(super) trait Version: Clone {
    const SHARES: bool;
    type Answer: Answer;

    async fn reach(server: &Server) -> Self;

    /// Asks, and waits for nothing. What was read to its end `before` may be gone on with.
    async fn get(
        &mut self,
        path: &str,
        headers: &[(&'static str, String)],
        before: Option<Self::Answer>,
    ) -> Self::Answer;
}

/// What comes back for a request.
pub(super) trait Answer {
    async fn status(&mut self) -> u16;

    /// Takes the body up to this text.
    async fn until(&mut self, end: &str) -> String;

    /// The body of one that ends.
    async fn whole(&mut self) -> Value;
}

/// A form in which messages come.
pub(super) trait Form: Sized {
    const DIALECT: &'static str;
    const GOES_ON: bool;
    const PATH: &'static str;

    async fn open<V: Version>(asking: Asking<V>) -> Result<Client<V>, Refusal>;

    async fn hear<V: Version>(client: &mut Client<V>) -> Value;
}

/// A request that may be made again.
pub(super) struct Asking<V> {
    version: V,
    path: String,
    headers: Vec<(&'static str, String)>,
    since: Option<String>,
}

impl<V: Version> Asking<V> {
    async fn get(&mut self, more: &str, before: Option<V::Answer>) -> V::Answer {
        let since = self.since.as_ref().map_or(String::new(), |since| format!("&since={since}"));
        self.version.get(&format!("{}{since}{more}", self.path), &self.headers, before).await
    }

    /// An answer that goes on, and is not refused.
    async fn admitted(&mut self, more: &str) -> Result<V::Answer, Refusal> {
        let mut answer = self.get(more, None).await;
        match answer.status().await {
            200 => Ok(answer),
            status => Err(Refusal::Status(status)),
        }
    }
}

pub(super) struct Client<V: Version> {
    asking: Asking<V>,
    /// What is being read, or waited for.
    answer: Option<V::Answer>,
    subscribed: Value,
    waiting: VecDeque<Value>,
}

pub(super) struct Over<F, V> {
    version: Option<V>,
    form: PhantomData<F>,
}

impl<F: Form, V: Version> Transport for Over<F, V> {
    const DIALECT: &'static str = F::DIALECT;
    const ABILITIES: &'static [Ability] = match (F::GOES_ON, V::SHARES) {
        (false, false) => &[Ability::Overload],
        (false, true) => &[Ability::Overload, Ability::Shares],
        (true, false) => &[Ability::Overload, Ability::GoesOn],
        (true, true) => &[Ability::Overload, Ability::GoesOn, Ability::Shares],
    };
    type Client = Formed<F, V>;

    fn new(_: &mut Settings) -> Self {
        Self { version: None, form: PhantomData }
    }

    async fn reach(&mut self, server: &Server) {
        self.version = Some(V::reach(server).await);
    }

    async fn open(&mut self, wish: &Wish) -> Result<Self::Client, Refusal> {
        let app = wish.app.map_or(String::new(), |app| format!("&app={app}"));
        let token = wish.token.map(|token| ("authorization", format!("Bearer {token}")));
        let asking = Asking {
            version: self.version.clone().unwrap(),
            path: format!("{}channel={}{app}", F::PATH, wish.channel),
            headers: token.into_iter().chain(wish.origin.map(|origin| ("origin", origin.to_owned()))).collect(),
            since: wish.since.clone(),
        };
        Ok(Formed(F::open(asking).await?, PhantomData))
    }
}

pub(super) struct Formed<F, V: Version>(Client<V>, PhantomData<F>);

impl<F: Form, V: Version> Listener for Formed<F, V> {
    fn subscribed(&self) -> &Value {
        &self.0.subscribed
    }

    async fn hear(&mut self) -> Value {
        loop {
            let told = F::hear(&mut self.0).await;
            if told["type"] != "ping" {
                return told;
            }
        }
    }

    async fn publish(&mut self, _: &str, _: &str) {
        panic!("it only listens");
    }
}

/// One that goes on: behind the welcome it says what it is subscribed to.
async fn begin<F: Form, V: Version>(mut asking: Asking<V>) -> Result<Client<V>, Refusal> {
    let answer = Some(asking.admitted("").await?);
    let mut client = Client { asking, answer, subscribed: Value::Null, waiting: VecDeque::new() };
    assert_eq!(F::hear(&mut client).await["type"], "welcome");
    client.subscribed = F::hear(&mut client).await;
    assert_eq!(client.subscribed["type"], "subscribed");
    Ok(client)
}

pub(super) struct Events;

impl Form for Events {
    const DIALECT: &'static str = "sse";
    const GOES_ON: bool = true;
    const PATH: &'static str = "/sse?format=message&";

    async fn open<V: Version>(asking: Asking<V>) -> Result<Client<V>, Refusal> {
        begin::<Self, V>(asking).await
    }

    async fn hear<V: Version>(client: &mut Client<V>) -> Value {
        let event = client.answer.as_mut().unwrap().until("\n\n").await;
        let data = event.lines().find_map(|line| line.strip_prefix("data: "));
        let mut told = data.map_or(json!({ "type": "ping" }), |data| serde_json::from_str(data).unwrap());
        if told["type"] == "end" {
            told["type"] = "disconnect".into();
        }
        told
    }
}

pub(super) struct Lines;

impl Form for Lines {
    const DIALECT: &'static str = "stream";
    const GOES_ON: bool = true;
    const PATH: &'static str = "/stream?";

    async fn open<V: Version>(asking: Asking<V>) -> Result<Client<V>, Refusal> {
        begin::<Self, V>(asking).await
    }

    async fn hear<V: Version>(client: &mut Client<V>) -> Value {
        serde_json::from_str(&client.answer.as_mut().unwrap().until("\n").await).unwrap()
    }
}

/// One poll after the other; the next is asked for before what the last one brought is heard.
pub(super) struct Polls;

impl Form for Polls {
    const DIALECT: &'static str = "poll";
    const GOES_ON: bool = false;
    const PATH: &'static str = "/poll?";

    async fn open<V: Version>(mut asking: Asking<V>) -> Result<Client<V>, Refusal> {
        let mut answer = asking.admitted("&wait=0").await?;
        let subscribed = answer.whole().await;
        let mut client =
            Client { asking, answer: Some(answer), waiting: VecDeque::new(), subscribed: subscribed.clone() };
        client.go_on(subscribed).await;
        Ok(client)
    }

    async fn hear<V: Version>(client: &mut Client<V>) -> Value {
        if client.waiting.is_empty() {
            let answer = client.answer.as_mut().unwrap();
            assert_eq!(answer.status().await, 200);
            let body = answer.whole().await;
            if body["messages"] == json!([]) {
                return json!({ "type": "nothing" });
            }
            client.go_on(body).await;
        }
        client.waiting.pop_front().unwrap()
    }
}

impl<V: Version> Client<V> {
    /// Asks for what comes behind an answer.
    async fn go_on(&mut self, body: Value) {
        self.waiting.extend(body["messages"].as_array().unwrap().iter().cloned());
        self.asking.since = Some(body["cursor"].as_str().unwrap().to_owned());
        let before = self.answer.take();
        self.answer = Some(self.asking.get("&wait=60", before).await);
    }
}

/// A connection for each client.
#[derive(Clone)]
pub(super) struct Http1(SocketAddr);

pub(super) struct OnHttp1 {
    http: Http,
    head: String,
}

impl Version for Http1 {
    const SHARES: bool = false;
    type Answer = OnHttp1;

    async fn reach(server: &Server) -> Self {
        Self(server.local_addr())
    }

    async fn get(&mut self, path: &str, headers: &[(&'static str, String)], before: Option<OnHttp1>) -> OnHttp1 {
        let mut http = match before {
            Some(before) => before.http,
            None => Http::connect_narrow_to(self.0).await,
        };
        http.stream.set_zero_linger().unwrap();
        let headers: String = headers.iter().map(|(name, value)| format!("\n{name}: {value}")).collect();
        http.ask(&format!("GET {path}{headers}"), "").await;
        OnHttp1 { http, head: String::new() }
    }
}

impl Answer for OnHttp1 {
    async fn status(&mut self) -> u16 {
        self.head = self.http.until("\r\n\r\n").await;
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    async fn until(&mut self, end: &str) -> String {
        self.http.until(end).await
    }

    async fn whole(&mut self) -> Value {
        serde_json::from_str(&self.http.body(&self.head).await).unwrap()
    }
}

/// One connection for all.
#[derive(Clone)]
pub(super) struct Http2(SendRequest<Bytes>);

pub(super) enum OnHttp2 {
    Awaited(ResponseFuture),
    Begun(RecvStream, String),
}

impl Version for Http2 {
    const SHARES: bool = true;
    type Answer = OnHttp2;

    async fn reach(server: &Server) -> Self {
        Self(http2::connect(server).await)
    }

    async fn get(&mut self, path: &str, headers: &[(&'static str, String)], _: Option<OnHttp2>) -> OnHttp2 {
        let request = Request::builder().uri(format!("http://a{path}"));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        let mut ready = self.0.clone().ready().await.unwrap();
        OnHttp2::Awaited(ready.send_request(request.body(()).unwrap(), true).unwrap().0)
    }
}

impl OnHttp2 {
    /// More of the body; nothing at its end.
    async fn more(&mut self) -> Option<()> {
        let Self::Begun(body, input) = self else { panic!("its head has not been read") };
        let data = body.data().await?.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        input.push_str(core::str::from_utf8(&data).unwrap());
        Some(())
    }

    fn input(&mut self) -> &mut String {
        let Self::Begun(_, input) = self else { panic!("its head has not been read") };
        input
    }
}

impl Answer for OnHttp2 {
    async fn status(&mut self) -> u16 {
        let Self::Awaited(response) = self else { panic!("its head has been read") };
        let (head, body) = response.await.unwrap().into_parts();
        *self = Self::Begun(body, String::new());
        head.status.as_u16()
    }

    async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.input().find(end) {
                let rest = self.input().split_off(at + end.len());
                return core::mem::replace(self.input(), rest);
            }
            self.more().await.expect("more");
        }
    }

    async fn whole(&mut self) -> Value {
        while self.more().await.is_some() {}
        serde_json::from_str(self.input()).unwrap()
    }
}
