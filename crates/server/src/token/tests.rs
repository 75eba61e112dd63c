//! Every claim with every JSON type, every algorithm, every edge of time.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use serde_json::json;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const NOW: Time = Time::from_secs(1_000);

fn key(kid: Option<&str>, secret: &str) -> TokenKey {
    TokenKey { kid: kid.map(str::to_owned), secret: Secret::new(secret) }
}

/// Signed by hand, so that headers and claims can be anything.
fn signed(header: &Value, claims: &Value, secret: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    let signature = aws_lc_rs::hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn token(claims: &Value) -> String {
    signed(&json!({ "alg": "HS256", "typ": "JWT" }), claims, SECRET)
}

fn check(token: &str) -> Result<Identity, String> {
    verify(&[key(None, SECRET)], &AppId::new("shop"), token, NOW).map_err(|reject| {
        assert_eq!(reject.code, RejectCode::BadToken);
        reject.message.into_owned()
    })
}

fn with(name: &str, value: Value) -> Result<Identity, String> {
    let mut claims = json!({ "sub": "ann", "exp": 2_000 });
    claims.as_object_mut().unwrap().insert(name.to_owned(), value);
    check(&token(&claims))
}

#[test]
fn a_whole_token_is_read() {
    let identity = check(&token(&json!({
        "sub": "ann", "exp": 2000, "nbf": 1000, "iat": 900, "app": "shop", "info": { "name": "Ann" }, "unknown": [1],
        "channels": [{ "match": "room:*", "allow": ["subscribe", "publish"] }, { "match": "x", "allow": ["*"] }],
    })))
    .unwrap();
    assert_eq!(identity.user.as_str(), "ann");
    assert_eq!(identity.expires, Some(Time::from_secs(2_000)));
    assert_eq!(identity.info.as_deref(), Some(r#"{"name":"Ann"}"#));
    let operations = Operations::SUBSCRIBE | Operations::PUBLISH;
    let expected = [("room:*", operations), ("x", Operations::ALL)]
        .map(|(pattern, operations)| Grant::new(ChannelMatch::parse(pattern), operations));
    assert_eq!(identity.grants, expected);
}

#[test]
fn every_claim_refuses_every_type_that_is_not_its_own() {
    let values =
        [json!(null), json!(true), json!(1500), json!(1500.5), json!("1500"), json!("x"), json!([]), json!({})];
    // Which of these the claim takes.
    for (claim, taken) in [
        ("sub", &[4, 5][..]),
        ("exp", &[2, 3]),
        ("nbf", &[]),
        ("iat", &[2, 3]),
        ("info", &[7]),
        ("channels", &[6]),
        ("app", &[]),
        ("something", &[0, 1, 2, 3, 4, 5, 6, 7]),
    ] {
        for (index, value) in values.iter().enumerate() {
            let result = with(claim, value.clone());
            assert_eq!(result.is_ok(), taken.contains(&index), "{claim}: {value} gave {result:?}");
            if let Err(message) = result {
                let named = message.contains(&format!("\"{claim}\""));
                let by_meaning = matches!((claim, index), ("nbf", 2 | 3) | ("app", 4 | 5));
                assert!(named || by_meaning, "{claim}: {message}");
            }
        }
    }
}

#[test]
fn channels_of_another_form_are_refused() {
    for entry in [
        json!("room:*"),
        json!(1),
        json!({}),
        json!({ "match": "x" }),
        json!({ "allow": ["subscribe"] }),
        json!({ "match": 1, "allow": [] }),
        json!({ "match": "x", "allow": "subscribe" }),
        json!({ "match": "x", "allow": [1] }),
        json!({ "match": "x", "allow": ["read"] }),
        json!({ "match": "x", "allow": [["subscribe"]] }),
    ] {
        assert!(with("channels", json!([entry])).unwrap_err().contains("\"channels\""), "{entry}");
    }
    assert_eq!(with("channels", json!([{ "match": "", "allow": [] }])).unwrap().grants.len(), 1);
}

#[test]
fn names_and_infos_have_limits() {
    for bad in ["", "a\nb", &"x".repeat(129)] {
        assert!(with("sub", json!(bad)).unwrap_err().contains("\"sub\""), "{bad:?}");
    }
    let info = |len: usize| json!({ "k": "x".repeat(len) });
    assert!(with("info", info(1024 - 8)).is_ok());
    assert!(with("info", info(1024 - 7)).unwrap_err().contains("\"info\""));
    assert!(with("pad", json!("x".repeat(TOKEN_BYTES_MAX))).unwrap_err().contains("8 KiB"));
}

#[test]
fn time_is_the_one_that_is_given_and_has_no_leeway() {
    for (exp, good) in
        [(json!(1_001), true), (json!(1_000.5), true), (json!(1_000), false), (json!(999), false), (json!(0), false)]
    {
        assert_eq!(with("exp", exp.clone()).is_ok(), good, "exp {exp}");
    }
    for exp in [json!(-1), json!(-0.5), json!(-1e300)] {
        assert!(with("exp", exp).unwrap_err().contains("\"exp\""));
    }
    assert!(with("exp", json!(253_402_300_799_u64)).is_ok());
    for milliseconds in [json!(253_402_300_800_u64), json!(1_700_000_000_000_u64), json!(u64::MAX), json!(1e300)] {
        for claim in ["exp", "nbf", "iat"] {
            let refused = with(claim, milliseconds.clone()).unwrap_err();
            assert!(refused.contains(&format!("\"{claim}\"")) && refused.contains("milliseconds"), "{refused}");
        }
    }
    for (nbf, good) in [(json!(1_000), true), (json!(1_000.001), false), (json!(1_001), false), (json!(0), true)] {
        assert_eq!(with("nbf", nbf.clone()).is_ok(), good, "nbf {nbf}");
    }
    assert_eq!(check(&token(&json!({ "sub": "ann" }))).unwrap_err(), "the token has no claim \"exp\"");
    assert_eq!(check(&token(&json!({ "exp": 2_000 }))).unwrap_err(), "the token has no claim \"sub\"");
}

#[test]
fn a_right_may_end_before_its_token() {
    let with = |exp: Value| {
        let entry = json!({ "match": "a", "allow": ["subscribe"], "exp": exp });
        check(&token(&json!({ "sub": "ann", "exp": 2_000, "channels": [entry, { "match": "b", "allow": [] }] })))
    };
    let identity = with(json!(1_500.5)).unwrap();
    let ends: Vec<_> = identity.grants.iter().map(|grant| grant.expires).collect();
    assert_eq!(ends, [Some(Time::from_millis(1_500_500)), None]);
    // One that has ended is no fault of the token.
    assert!(with(json!(1)).is_ok());
    for exp in [json!("x"), json!(null), json!(-1), json!(1_700_000_000_000_u64)] {
        assert!(with(exp).unwrap_err().contains("\"exp\""));
    }
}

#[test]
fn another_application_is_refused() {
    assert!(with("app", json!("shop")).is_ok());
    assert_eq!(with("app", json!("bank")).unwrap_err(), "the token is for another application");
    assert!(with("app", json!("")).is_err());
}

#[test]
fn only_hs256_is_taken_whatever_the_header_says() {
    let claims = json!({ "sub": "ann", "exp": 2_000 });
    for alg in ["none", "None", "nOnE", "", "HS384", "HS512", "RS256", "ES256", "PS256", "EdDSA", "hs256", "HS256 "] {
        let header = json!({ "alg": alg, "typ": "JWT" });
        assert!(check(&signed(&header, &claims, SECRET)).unwrap_err().contains("HS256"), "{alg}");
    }
    for header in
        [json!({}), json!({ "alg": 1 }), json!({ "alg": null }), json!([]), json!("HS256"), json!({ "alg": ["HS256"] })]
    {
        assert!(check(&signed(&header, &claims, SECRET)).is_err(), "{header}");
    }
    let unsigned = token(&claims);
    let (message, _) = unsigned.rsplit_once('.').unwrap();
    assert!(check(&format!("{message}.")).is_err());
    assert!(check(&signed(&json!({ "alg": "HS256", "crit": ["exp"] }), &claims, SECRET)).unwrap_err().contains("crit"));
    // Keys that come with the token are nobody's.
    let jwk = json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode("attacker"), "alg": "HS256" });
    let own_key = json!({ "alg": "HS256", "jwk": jwk, "jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/" });
    assert_eq!(check(&signed(&own_key, &claims, "attacker")).unwrap_err(), "the token's signature does not match");
}

#[test]
fn what_is_no_token_is_malformed() {
    let good = token(&json!({ "sub": "ann", "exp": 2_000 }));
    let parts: Vec<&str> = good.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("three parts") };
    for bad in [
        String::new(),
        "not-a-token".to_owned(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        format!("{header}.{claims}"),
        format!("{good}.x"),
        format!("{good}="),
        format!("{header}.{claims}=.{signature}"),
        format!(" {good}"),
        good.replace('.', ","),
    ] {
        assert!(check(&bad).is_err(), "{bad:?}");
    }
    assert_eq!(check("not-a-token").unwrap_err(), "the token is malformed");
    for claims in [json!([]), json!("x"), json!(null), json!(1)] {
        assert_eq!(check(&token(&claims)).unwrap_err(), "the token is malformed");
    }
    // One bit of anything, and the signature is another's.
    let flipped = |part: &str| {
        let mut bytes = URL_SAFE_NO_PAD.decode(part).unwrap();
        let last = bytes.len() - 3;
        bytes[last] ^= 1;
        URL_SAFE_NO_PAD.encode(bytes)
    };
    assert!(check(&format!("{header}.{}.{signature}", flipped(claims))).is_err());
    assert_eq!(
        check(&format!("{header}.{claims}.{}", flipped(signature))).unwrap_err(),
        "the token's signature does not match"
    );
}

#[test]
fn the_header_chooses_the_key() {
    let keys = [key(Some("new"), SECRET), key(Some("old"), "ffffffffffffffffffffffffffffffff"), key(None, "third")];
    let claims = json!({ "sub": "ann", "exp": 2_000 });
    let check = |kid: Option<Value>, secret: &str| {
        let mut header = json!({ "alg": "HS256" });
        if let Some(kid) = kid {
            header.as_object_mut().unwrap().insert("kid".to_owned(), kid);
        }
        verify(&keys, &AppId::new("shop"), &signed(&header, &claims, secret), NOW).is_ok()
    };
    let [old, new] = ["ffffffffffffffffffffffffffffffff", SECRET];
    assert!(check(None, new) && check(Some(json!("new")), new) && check(Some(json!("old")), old));
    assert!(!check(None, old) && !check(Some(json!("old")), new) && !check(Some(json!("third")), "third"));
    assert!(!check(Some(json!(1)), new) && !check(Some(json!("")), "third"));
    assert!(verify(&[], &AppId::new("shop"), &token(&claims), NOW).is_err());
}

#[test]
fn what_is_signed_here_is_taken_here() {
    let user = UserId::parse("ann").unwrap();
    let channels = [("room:*".to_owned(), vec!["subscribe".to_owned()])];
    let mut new =
        NewToken { user: &user, channels: &channels, ttl: Duration::from_secs(60), info: None, app: Some("shop") };
    let key = key(Some("k"), SECRET);
    let (token, expires) = sign(&key, &new, NOW).unwrap();
    let identity = verify(core::slice::from_ref(&key), &AppId::new("shop"), &token, NOW).unwrap();
    assert_eq!((identity.expires, identity.grants.len()), (Some(expires), 1));
    assert!(verify(core::slice::from_ref(&key), &AppId::new("bank"), &token, NOW).is_err());

    let unknown = [("x".to_owned(), vec!["read".to_owned()])];
    new.channels = &unknown;
    assert!(sign(&key, &new, NOW).is_err());
}
