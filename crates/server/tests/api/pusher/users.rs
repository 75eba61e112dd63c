//! Users who have signed in: sent to, and sent away.

use super::support::{APPS, Client, Signing, post, post_as, text};
use crate::support::{configured, request, with_server, within};
use serde_json::{Value, json};

async fn end(client: &mut Client) -> (Value, u16) {
    let error = client.next().await;
    assert_eq!(error["event"], "pusher:error", "{error}");
    let data: Value = serde_json::from_str(error["data"].as_str().unwrap()).unwrap();
    while within(10, client.socket.recv()).await.is_some_and(|message| message.is_ok()) {}
    (data["code"].clone(), client.socket.close_frame().unwrap().code.into())
}

#[test]
fn all_connections_of_a_user_are_ended_and_no_others() {
    with_server(&configured(APPS), async |server| {
        let address = server.address();
        let path = "/apps/100/users/ann@example.com/terminate_connections";
        let by_key = "/users/ann@example.com/terminate_connections";
        let ann = "ann@example.com";
        let mut others = [Client::of_a(address).await, Client::of_a(address).await, Client::of_b(address).await];
        others[0].sign_in("bob").await;
        // A member of that name who has not signed in, and the same user of another application.
        others[1].subscribe("presence-a", ann).await;
        others[2].sign_in(ann).await;
        for (path, sent) in
            [(path, path), (by_key, by_key), (path, "/apps/100/users/ann%40example.com/terminate_connections")]
        {
            let mut hers = [Client::of_a(address).await, Client::of_a(address).await, Client::of_a(address).await];
            for client in &mut hers {
                client.sign_in(ann).await;
            }
            // As libraries do whose HTTP client escapes the path that they have signed.
            let query = Signing::of_a().query("POST", path, &[("n", sent)], "{}");
            let answer = request(address, &format!("POST {sent}?{}", query.replace('%', "%25")), "{}").await;
            assert_eq!((answer.status, answer.json()), (200, json!({})));
            for client in &mut hers {
                assert_eq!(end(client).await, (json!(4009), 4009));
            }
        }
        for client in &mut others {
            assert!(client.has_nothing().await);
        }
        // Nobody is there, which is no fault.
        assert_eq!(post(address, "/apps/100/users/nobody/terminate_connections", "{}").await.status, 200);
        let long = format!("/apps/100/users/{}/terminate_connections", "x".repeat(129));
        let refused = post(address, &long, "").await;
        assert_eq!(refused.status, 400);
        assert!(text(&refused).contains("user name has 129 bytes"), "{refused:?}");
        let forged = Signing { secret: "another", ..Signing::of_a() };
        for path in [path, by_key] {
            assert_eq!(post_as(&forged, address, path, "{}").await.status, 401);
        }
        let unknown = Signing { key: "key-z", ..Signing::of_a() };
        assert_eq!(post_as(&unknown, address, by_key, "{}").await.status, 401);
        assert!(others[0].has_nothing().await);
    });
}
