//! What is signed, what is believed, and what is not.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;

use super::*;
use crate::links::{Link, Links};
use crate::peer::Scheme;

fn id(number: u8) -> PeerId {
    PeerId::of_key([number; 32])
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn authority(text: &str) -> Authority {
    Authority::parse(Scheme::Http, text).unwrap()
}

fn nonce(number: u8) -> Nonce {
    Nonce::of_bytes([number; 16])
}

fn claims(at: &str) -> Claims {
    Claims {
        id: id(1),
        nonce: nonce(1),
        authority: authority(at),
        client: ip("192.168.7.20"),
        accepting: true,
        load: 0.25,
        version: "0.1.0".into(),
    }
}

fn question(at: &str) -> Question {
    Question { id: id(1), nonce: nonce(1), authority: authority(at) }
}

fn written(claims: &Claims) -> String {
    Claims::signed(&claims.message(), [7; 64])
}

/// What the asker, at 192.168.7.20, makes of these claims as an answer to the question of [`question`].
fn judged(at: &str, claims: &Claims, signed: bool) -> Verdict {
    judged_by(authority(at).address().unwrap(), at, claims, signed)
}

fn judged_by(to: IpAddr, at: &str, claims: &Claims, signed: bool) -> Verdict {
    let text = written(claims);
    question(at).judge(&Proof::parse(&text).unwrap(), Way { from: ip("192.168.7.20"), to }, signed)
}

#[test]
fn a_proof_is_read_as_it_was_written() {
    for at in ["192.0.2.7", "192.0.2.7:6736", "[2001:db8::7]", "[2001:db8::7]:8080", "registry.example.com"] {
        let claims = claims(at);
        let text = written(&claims);
        let proof = Proof::parse(&text).unwrap();
        assert_eq!((proof.claims(), proof.signature()), (&claims, &[7; 64]), "{at}");
        assert_eq!(proof.message(), claims.message().as_bytes());
    }
    let header = claims("192.0.2.7").message().split('.').next().unwrap().to_string();
    let header = URL_SAFE_NO_PAD.decode(header).unwrap();
    assert_eq!(header, br#"{"alg":"EdDSA","typ":"open-registry-proof+jwt"}"#);
}

#[test]
fn the_peer_at_its_own_address_is_believed() {
    let proven = Verdict::Proven { load: 0.25, accepting: true };
    assert_eq!(judged("192.168.7.9", &claims("192.168.7.9"), true), proven);
    assert_eq!(judged("192.0.2.7", &claims("192.0.2.7"), true), proven);
    let stopping = Claims { accepting: false, ..claims("192.0.2.7") };
    let verdict = judged("192.0.2.7", &stopping, true);
    assert_eq!(Outcome::from(verdict), Outcome::Draining { load: 0.25 });
}

#[test]
fn anything_but_the_answer_to_this_question_by_this_peer_is_refused() {
    let at = "192.0.2.7";
    let refusal = |claims: &Claims, signed| match judged(at, claims, signed) {
        Verdict::Refused(refusal) => refusal,
        proven @ Verdict::Proven { .. } => panic!("{proven:?}"),
    };
    assert_eq!(refusal(&claims(at), false), Refusal::BadSignature);
    assert_eq!(refusal(&Claims { id: id(2), ..claims(at) }, true), Refusal::WrongId(id(2)));
    assert_eq!(refusal(&Claims { nonce: nonce(2), ..claims(at) }, true), Refusal::Replayed);
    for other in ["192.0.2.8", "192.0.2.7:8080", "registry.example.com"] {
        assert_eq!(refusal(&claims(other), true), Refusal::OtherAuthority(authority(other)));
    }
    let over_tls = Authority::at(Scheme::Https, ip(at), 443);
    let refused = refusal(&Claims { authority: over_tls.clone(), ..claims(at) }, true);
    assert_eq!(refused, Refusal::OtherAuthority(over_tls), "the other scheme's");
}

#[test]
fn at_an_address_that_two_machines_may_have_a_relay_is_seen() {
    for at in ["192.168.7.9", "10.1.2.3", "100.64.0.9", "[fd00:7::9]", "169.254.1.1", "127.0.0.1"] {
        let seen_from = Claims { client: ip("192.168.7.66"), ..claims(at) };
        let relayed = Verdict::Refused(Refusal::Relayed(ip("192.168.7.66")));
        assert_eq!(judged(at, &seen_from, true), relayed, "{at}");
        let mapped = Claims { client: ip("::ffff:192.168.7.20"), ..claims(at) };
        assert_eq!(judged(at, &mapped, true), Verdict::Proven { load: 0.25, accepting: true }, "{at}");
    }
    // A name is worth as much as the address that it led to.
    let name = "gateway.lan";
    let seen_from = Claims { client: ip("192.168.7.66"), ..claims(name) };
    let by = |to| judged_by(ip(to), name, &seen_from, true);
    assert_eq!(by("192.168.7.9"), Verdict::Refused(Refusal::Relayed(ip("192.168.7.66"))));
    assert_eq!(by("192.0.2.7"), Verdict::Proven { load: 0.25, accepting: true });
    // Where there is one such address in the world, the asker may be behind a NAT.
    let behind_nat = Claims { client: ip("198.51.100.4"), ..claims("192.0.2.7") };
    assert_eq!(judged("192.0.2.7", &behind_nat, true), Verdict::Proven { load: 0.25, accepting: true });
}

#[test]
fn only_deceit_takes_an_address_down_at_once() {
    let deceits = [Refusal::WrongId(id(2)), Refusal::BadSignature];
    assert!(deceits.into_iter().all(|refusal| Outcome::NotProven(refusal).is_deceit()));
    let relayed = Refusal::Relayed(ip("192.0.2.1"));
    let others = [
        Outcome::TimedOut,
        Outcome::Status(302),
        Outcome::NotProven(Refusal::Replayed),
        Outcome::NotProven(relayed),
        Outcome::Draining { load: 0.0 },
    ];
    assert!(!others.iter().any(Outcome::is_deceit));
}

#[test]
fn of_two_schemes_the_worse_counts() {
    let (idle, busy) = (Outcome::Passed { load: 0.1 }, Outcome::Passed { load: 0.9 });
    let deceit = Outcome::NotProven(Refusal::BadSignature);
    let rising = [idle, busy, Outcome::Draining { load: 0.1 }, Outcome::TimedOut, deceit];
    for (index, worse) in rising.iter().enumerate() {
        for better in &rising[..index] {
            assert!(worse.counts_before(better) && !better.counts_before(worse), "{worse:?} {better:?}");
        }
    }
}

#[test]
fn what_is_not_quite_a_proof_is_none() {
    let good = claims("192.0.2.7").message();
    let (_, body) = good.split_once('.').unwrap();
    let with =
        |header: &str, body: &str| format!("{}.{body}.{}", URL_SAFE_NO_PAD.encode(header), "A".repeat(86));
    let parse = |text: &str| Proof::parse(text).map(|_| ());
    assert_eq!(parse(&with(r#"{"alg":"EdDSA","typ":"open-registry-proof+jwt","kid":"x"}"#, body)), Ok(()));
    for header in [
        r#"{"alg":"none","typ":"open-registry-proof+jwt"}"#,
        r#"{"alg":"HS256","typ":"open-registry-proof+jwt"}"#,
        r#"{"alg":"EdDSA","typ":"JWT"}"#,
        r#"{"alg":"EdDSA"}"#,
        r#"{"alg":"EdDSA","typ":"open-registry-proof+jwt","crit":["b64"]}"#,
        r#"{"alg":"EdDSA","alg":"EdDSA","typ":"open-registry-proof+jwt"}"#,
        "",
    ] {
        assert_eq!(parse(&with(header, body)), Err(NotAProof::Kind), "{header}");
    }
    let signature = "A".repeat(86);
    for text in [
        "",
        ".",
        "..",
        "a.b.c.d",
        &good,
        &format!("{good}."),
        &format!("{good}.AAAA"),
        &format!("{good}.{signature}="),
    ] {
        assert_eq!(parse(text), Err(NotAProof::Shape), "{text}");
    }
    assert_eq!(parse(&"A".repeat(LONGEST + 1)), Err(NotAProof::TooLong));
    let body = |change: &str, to: &str| {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap();
        assert!(text.contains(change), "{text}");
        with(
            r#"{"alg":"EdDSA","typ":"open-registry-proof+jwt"}"#,
            &URL_SAFE_NO_PAD.encode(text.replace(change, to)),
        )
    };
    for (change, to) in [
        ("0.25", "1.01"),
        ("0.25", "-1"),
        ("0.25", "null"),
        ("true", "\"true\""),
        ("192.0.2.7", "192.0.2.7:80"),
        ("192.0.2.7", "user@192.0.2.7"),
        ("http\"", "ftp\""),
        ("12D3KooW", "12D3Koo"),
        (nonce(1).as_str(), "short"),
    ] {
        assert_eq!(parse(&body(change, to)), Err(NotAProof::Claims), "{change} to {to}");
    }
}

#[test]
fn an_authority_has_one_way_to_be_written() {
    for plain in
        ["192.0.2.7", "192.0.2.7:8080", "[2001:db8::7]", "[::1]:443", "registry.example.com", "lan:6736"]
    {
        assert_eq!(authority(plain).to_string(), plain);
    }
    for refused in [
        "",
        ":80",
        "192.0.2.7:80",
        "192.0.2.7:",
        "192.0.2.7:0",
        "192.0.2.7:080",
        "192.0.2.7:99999",
        "192.0.2.07",
        "192.0.2",
        "0xc0000207",
        "1.2.3.4.5",
        "2001:db8::7",
        "[2001:DB8::7]",
        "[2001:db8:0::7]",
        "[::ffff:192.0.2.7]",
        "[fe80::1%eth0]",
        "[::1",
        "Registry.example.com",
        "registry.example.com.",
        "a b",
        "a@b",
        "a/b",
        "http://a",
    ] {
        assert!(Authority::parse(Scheme::Http, refused).is_err(), "{refused:?}");
    }
    assert_eq!(Authority::parse(Scheme::Https, "a.example:80").unwrap().port(), 80);
    assert!(Authority::parse(Scheme::Https, "a.example:443").is_err());
}

/// A machine on a LAN, in a carrier's network, and with a public address.
fn links() -> Links {
    Links(vec![
        Link::written(1, &["127.0.0.1/8", "::1/128"]),
        Link::written(2, &["192.168.7.9/24", "2001:db8:7::9/64", "fe80::9/64"]),
        Link::written(3, &["198.51.100.9/24", "100.64.0.9/10"]),
    ])
}

fn check(at: &str, asked_at: Option<&str>) -> Result<(), Foreign> {
    let (addresses, names) = ([ip("203.0.113.5"), ip("10.0.0.5")], ["registry.example.edu".to_string()]);
    let own = Own { links: &links(), addresses: &addresses, names: &names, ports: &[6736] };
    own.check(&authority(at), Asked { at: asked_at.map(ip), scheme: Scheme::Http })
}

#[test]
fn a_gateway_signs_for_its_own_addresses_only() {
    let asked_at = Some("198.51.100.9");
    for own in [
        "198.51.100.9",
        "198.51.100.9:443",
        "198.51.100.9:6736",
        "[2001:db8:7::9]",
        "203.0.113.5",
        "10.0.0.5",
    ] {
        assert_eq!(check(own, asked_at), Ok(()), "{own}");
    }
    assert_eq!(check("registry.example.edu", asked_at), Ok(()));
    for foreign in [
        "198.51.100.10",
        "192.168.7.1",
        "8.8.8.8",
        "[2001:db8:7::a]",
        "evil.example",
        "x.registry.example.edu",
    ] {
        assert_eq!(check(foreign, asked_at), Err(Foreign::Host(authority(foreign))), "{foreign}");
    }
    assert_eq!(check("198.51.100.9:8080", asked_at), Err(Foreign::Port(8080)));
    let over_tls = Authority::parse(Scheme::Https, "registry.example.edu").unwrap();
    let own = Own { links: &links(), addresses: &[], names: &["registry.example.edu".into()], ports: &[] };
    let asked = |scheme| own.check(&over_tls, Asked { at: None, scheme });
    assert_eq!((asked(Scheme::Https), asked(Scheme::Http)), (Ok(()), Err(Foreign::Scheme("http"))));
}

#[test]
fn for_an_address_that_others_may_have_too_it_wants_to_be_asked_there() {
    for private in ["192.168.7.9", "100.64.0.9"] {
        assert_eq!(check(private, Some(private)), Ok(()));
        assert_eq!(check(private, Some("198.51.100.9")), Err(Foreign::AskedElsewhere(authority(private))));
        assert_eq!(check(private, None), Ok(()), "behind a proxy of its own");
    }
    // All of 127.0.0.0/8 is this machine.
    assert_eq!(check("127.0.0.2", Some("127.0.0.2")), Ok(()));
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}", parts in prop::collection::vec("[A-Za-z0-9_-]{0,120}", 3)) {
        let _ = Proof::parse(&text);
        let _ = Proof::parse(&parts.join("."));
        if let Ok(authority) = Authority::parse(Scheme::Http, &text) {
            prop_assert_eq!(authority.to_string(), text);
        }
    }
}
