//! Which way is gone, with a home that is played and in a time of the test's own.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::Full;
use resolver::connectivity::Link;
use resolver::ways::{Errand, Way};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout};

use super::played::{Played, home, own, said};
use super::{Patience, Upstream, UpstreamError};

/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:1/registry";

fn ok(_: &super::played::Asked) -> super::played::Said {
    said(200, &[("age", "5")], "home")
}

fn cut_off(_: &super::played::Asked) -> super::played::Said {
    said(503, &[("open-registry-upstream", "down")], "")
}

/// An upstream that says "direct" to everything.
async fn direct() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/registry", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while stream.read_buf(&mut head).await.is_ok_and(|read| read > 0) {
                    if head.windows(4).any(|end| end == b"\r\n\r\n") {
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\ndirect";
                        stream.write_all(answer).await.unwrap();
                        head.clear();
                    }
                }
            });
        }
    });
    url
}

async fn body(answer: Result<super::Answer, UpstreamError>) -> Result<String, UpstreamError> {
    let mut answer = answer?;
    let mut text = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        text.extend_from_slice(&chunk);
    }
    Ok(String::from_utf8(text).unwrap())
}

async fn get(upstream: &Upstream, path: &str) -> Result<String, UpstreamError> {
    let address = format!("{}{path}", upstream.base());
    body(upstream.get(&address, HeaderMap::new(), 0).await).await
}

async fn audit(upstream: &Upstream, errand: Errand) -> Result<String, UpstreamError> {
    let address = format!("{}/-/npm/v1/security/x", upstream.base());
    let request = Request::post(address).body(Full::new(Bytes::from_static(b"{}"))).unwrap();
    let patience = Patience { wait: Duration::from_secs(5), reads: true };
    body(upstream.pass(request, patience, errand).await).await
}

#[tokio::test(start_paused = true)]
async fn home_is_asked_first_and_told_who_asks_and_by_one_stream() {
    let (played, upstream) = Played::new(NOWHERE);
    played.answers(Some(ok));
    played.connect();
    for _ in 0..3 {
        assert_eq!(get(&upstream, "/left?x=1").await.as_deref(), Ok("home"));
        // The stream is free again a moment after the last byte.
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(*played.opened.lock().unwrap(), 1);
    let asked = played.asked.lock().unwrap();
    let first = &asked[0];
    assert_eq!((first.method.as_str(), first.path.as_str()), ("GET", "/left?x=1"));
    assert_eq!(first.headers["open-registry-peer"], own().to_string());
    assert_eq!(first.headers["open-registry-wish"], "home");
    assert!(first.headers["via"].to_str().unwrap().contains(upstream.instance()));
}

#[tokio::test(start_paused = true)]
async fn what_home_says_counts_and_how_old_it_is() {
    let (played, upstream) = Played::new(NOWHERE);
    played.answers(Some(ok));
    played.connect();
    let address = format!("{}/left", upstream.base());
    let answer = upstream.get(&address, HeaderMap::new(), 0).await.ok().unwrap();
    assert!(answer.is_of_home() && !answer.is_cut_off());
    assert_eq!(answer.age(), Duration::from_secs(5));
    played.answers(Some(|_| said(404, &[], "")));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(get(&upstream, "/left").await, Err(UpstreamError::Missing), "upstream's word, as home has it");
}

#[tokio::test]
async fn upstream_itself_is_asked_when_home_takes_no_stream_or_cannot_ask_it() {
    let (played, upstream) = Played::new(&direct().await);
    played.connect();
    played.answers(Some(cut_off));
    assert_eq!(get(&upstream, "/left").await.as_deref(), Ok("direct"));
    assert_eq!(audit(&upstream, Errand::Public).await.as_deref(), Ok("direct"), "its body was kept");
    assert_eq!(played.asked.lock().unwrap()[1].body, "{}");
    assert_eq!(upstream.latch().link(), Link::Up);
    assert!(upstream.home().unwrap().serves, "home has answered");
    played.answers(None);
    // Streams that are there still answer as before.
    for _ in 0..3 {
        assert_eq!(get(&upstream, "/left").await.as_deref(), Ok("direct"));
    }
}

#[tokio::test]
async fn what_is_old_at_home_is_taken_when_there_is_nothing_newer() {
    fn old(_: &super::played::Asked) -> super::played::Said {
        said(200, &[("open-registry-upstream", "down"), ("age", "9000")], "old")
    }
    let (played, upstream) = Played::new(&direct().await);
    played.connect();
    played.answers(Some(old));
    assert_eq!(get(&upstream, "/left").await.as_deref(), Ok("direct"));
    let (played, upstream) = Played::new(NOWHERE);
    played.connect();
    played.answers(Some(old));
    let address = format!("{}/left", upstream.base());
    for _ in 0..2 {
        let answer = upstream.get(&address, HeaderMap::new(), 0).await.ok().unwrap();
        assert!(answer.is_cut_off());
        assert_eq!(body(Ok(answer)).await.as_deref(), Ok("old"));
    }
    assert_eq!(upstream.latch().link(), Link::Up, "home serves what it has");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_homes_word_is_none_whoever_says_it() {
    let (played, upstream) = Played::new(NOWHERE);
    played.connect();
    for status in [200, 403, 404] {
        played.answers_with(move |_| {
            Some(http::Response::builder().status(status).body(Bytes::from_static(b"{}")).unwrap())
        });
        let refused = get(&upstream, "/left").await.unwrap_err();
        assert!(matches!(refused, UpstreamError::Unreachable(_)), "{status}: {refused:?}");
        assert!(matches!(upstream.latch().link(), Link::Down(_)));
        played.connect();
        upstream.latch().home_changed(true);
        sleep(Duration::from_secs(60)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_circle_of_homes_ends_in_an_error_that_says_so() {
    let (played, upstream) = Played::new(NOWHERE);
    played.connect();
    played.answers_with(|_| {
        let homes = format!("{}, {}", home(), own());
        let answer = http::Response::builder().header(super::HOMES, homes);
        Some(answer.body(Bytes::from_static(b"{}")).unwrap())
    });
    let _ = get(&upstream, "/left").await;
    let Link::Down(cause) = upstream.latch().link() else { panic!("it is not down") };
    assert!(cause.contains("follows this gateway in its turn"), "{cause}");
    assert!(upstream.home().unwrap().cause.unwrap().contains("federation.home"), "people are told, too");
}

#[tokio::test(start_paused = true)]
async fn nothing_private_goes_through_home() {
    let (played, upstream) = Played::new(NOWHERE);
    played.answers(Some(ok));
    played.connect();
    assert!(audit(&upstream, Errand::Private).await.is_err());
    assert!(matches!(upstream.latch().link_for(Errand::Private), Link::Down(_)));
    assert_eq!(upstream.latch().link(), Link::Up);
    assert!(upstream.get("http://127.0.0.1:1/elsewhere/left", HeaderMap::new(), 0).await.is_err());
    assert_eq!(played.paths(), Vec::<String>::new());
    assert_eq!(audit(&upstream, Errand::Public).await.as_deref(), Ok("home"));
}

#[tokio::test(start_paused = true)]
async fn at_the_start_home_is_waited_for_a_moment() {
    let (played, upstream) = Played::new(NOWHERE);
    played.answers(Some(ok));
    let (began, asking) = (Instant::now(), upstream.clone());
    let asked = tokio::spawn(async move { get(&asking, "/left").await });
    sleep(Duration::from_secs(1)).await;
    played.connect();
    assert_eq!(asked.await.unwrap().as_deref(), Ok("home"));
    assert!(began.elapsed() < Duration::from_millis(1100));

    let (_played, upstream) = Played::new(NOWHERE);
    let began = Instant::now();
    assert!(get(&upstream, "/left").await.is_err());
    let first = began.elapsed();
    assert!((Duration::from_secs(3)..Duration::from_secs(4)).contains(&first), "{first:?}");
    assert!(get(&upstream, "/left").await.is_err());
    assert!(began.elapsed() - first < Duration::from_secs(1), "once");
}

#[tokio::test(start_paused = true)]
async fn a_home_that_says_nothing_is_left_and_its_return_is_noticed() {
    let (played, upstream) = Played::new(NOWHERE);
    played.connect();
    played.answers(Some(|_| None));
    tokio::spawn(upstream.clone().probe_forever());
    assert!(get(&upstream, "/left").await.is_err());
    assert!(get(&upstream, "/left").await.is_err());
    assert!(matches!(upstream.latch().link(), Link::Down(_)));
    played.answers(Some(ok));
    let up = async {
        while upstream.latch().link() != Link::Up {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_secs(60), up).await.unwrap();
    assert_eq!(upstream.try_once().await, Ok(Way::Home));
}

#[tokio::test(start_paused = true)]
async fn a_new_connection_with_home_opens_the_way_at_once() {
    let (played, upstream) = Played::new(NOWHERE);
    tokio::spawn(upstream.clone().probe_forever());
    played.answers(Some(ok));
    assert!(get(&upstream, "/left").await.is_err());
    assert!(matches!(upstream.latch().link(), Link::Down(_)));
    let waiting = tokio::spawn({
        let upstream = upstream.clone();
        async move { upstream.link_for_missing().await }
    });
    sleep(Duration::from_millis(10)).await;
    played.connect();
    assert_eq!(waiting.await.unwrap(), Link::Up);
    assert_eq!(get(&upstream, "/left").await.as_deref(), Ok("home"));
    assert!(upstream.home().unwrap().connected_s.is_some());
    assert!(!upstream.is_asked_directly(), "others must not rely on what home would be asked for");
    played.disconnect();
    assert!(matches!(upstream.latch().link(), Link::Down(_)));
    assert_eq!(upstream.home().unwrap().connected_s, None);
}

/// Takes what is asked on the first connection and never answers it; whether later ones are answered, or refused.
async fn silent_at_first(then_answers: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/registry", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (silent, _) = listener.accept().await.unwrap();
        if then_answers {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 4096];
                let _ = stream.read(&mut head).await;
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
                    .await
                    .unwrap();
            }
        }
        drop(listener);
        std::future::pending::<()>().await;
        drop(silent);
    });
    url
}

#[tokio::test]
async fn what_only_reads_is_given_up_as_soon_as_upstream_turns_out_to_be_out_of_reach() {
    let wait = Duration::from_secs(7);
    let pass = async |then_answers, reads| {
        let (_played, upstream) = Played::new(&silent_at_first(then_answers).await);
        let request = Request::get(format!("{}/-/v1/search", upstream.base()));
        let request = request.body(Full::new(Bytes::new())).unwrap();
        let began = Instant::now();
        let passed = upstream.pass(request, Patience { wait, reads }, Errand::Private).await;
        (passed.map(drop), began.elapsed(), upstream.latch().link_for(Errand::Private))
    };
    let (gone, there, writes) = tokio::join!(pass(false, true), pass(true, true), pass(false, false));
    assert!(matches!(gone.0, Err(UpstreamError::Unreachable(_))), "{gone:?}");
    assert!(gone.1 < Duration::from_secs(6) && matches!(gone.2, Link::Down(_)), "{gone:?}");
    assert_eq!(there.0, Err(UpstreamError::Silent(wait)), "it may need so long");
    assert_eq!(writes.0, Err(UpstreamError::Silent(wait)), "nobody knows what has become of it");
}
