//! Accepts connections, reads requests, and lets each answer take its course.

use std::convert::Infallible;
use std::future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::catalog::Catalog;
use super::delivery::{self, Aborted, Body, Course, Progress};
use super::faults::Faults;
use super::log::Log;
use super::respond::{Asked, Character};
use super::route::Route;
use super::wire::{Shared, Wire};
use crate::runtime;

/// The largest body a client may send.
const MAX_UPLOAD: usize = 64 << 20;
/// How long switching off may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What every connection sees.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) character: Character,
    pub(crate) log: Arc<Log>,
    catalog: Mutex<Catalog>,
    faults: Mutex<Faults>,
}

impl State {
    pub(crate) fn new(character: Character, catalog: Catalog) -> Self {
        Self { character, log: Arc::default(), catalog: Mutex::new(catalog), faults: Mutex::default() }
    }

    pub(crate) fn catalog(&self) -> MutexGuard<'_, Catalog> {
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A listening registry; its connections die with it.
#[derive(Debug)]
pub(crate) struct Running {
    accepting: JoinHandle<()>,
    /// Hangs up when the last connection is gone.
    gone: mpsc::Receiver<Infallible>,
}

impl Running {
    pub(crate) fn start(
        listener: std::net::TcpListener,
        tls: Option<TlsAcceptor>,
        state: Arc<State>,
    ) -> Self {
        listener.set_nonblocking(true).expect("a socket that does not block");
        let (here, gone) = mpsc::channel();
        let accepting = runtime::spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a runtime that drives sockets");
            accept(here, listener, tls, state).await;
        });
        Self { accepting, gone }
    }

    /// Stops listening and drops every connection; returns when that has happened.
    pub(crate) fn stop(&self) {
        self.accepting.abort();
        let hung_up = self.gone.recv_timeout(PATIENCE);
        assert_eq!(hung_up, Err(mpsc::RecvTimeoutError::Disconnected), "a connection outlived its registry");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// `here` comes first, so that it is dropped last: who hears that it is gone may bind the port again.
async fn accept(
    here: mpsc::Sender<Infallible>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    state: Arc<State>,
) {
    let mut connections = JoinSet::new();
    loop {
        // A failed accept is the client's loss; the next one may work.
        let Ok((tcp, _)) = listener.accept().await else { continue };
        let (tls, state, here) = (tls.clone(), Arc::clone(&state), here.clone());
        connections.spawn(async move {
            let _here = here;
            serve(tcp, tls, state).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(tcp: TcpStream, tls: Option<TlsAcceptor>, state: Arc<State>) {
    // Latency only.
    let _ = tcp.set_nodelay(true);
    let from = tcp.peer_addr().ok();
    let wire = match tls {
        None => Wire::Plain(tcp),
        Some(tls) => match tls.accept(tcp).await {
            Ok(stream) => Wire::Tls(Box::new(stream)),
            Err(_) => return,
        },
    };
    let wire = Shared::new(wire);
    let connection = wire.clone();
    let _closing = Closing(wire.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(from);
        handle(Arc::clone(&state), wire.clone(), request)
    });
    // How a connection ends is the client's to observe.
    let _ =
        auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(connection), service).await;
}

/// Closes the connection with its task: streams of HTTP/2 run beside it and would keep it open.
struct Closing(Shared);

impl Drop for Closing {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}

async fn handle(
    state: Arc<State>,
    wire: Shared,
    request: Request<Incoming>,
) -> Result<Response<Body>, Aborted> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_UPLOAD).collect().await.map_err(|_| Aborted)?.to_bytes();
    let route = Route::of(&head.method, head.uri.path());
    let number = state.log.arrived(&head, body.clone(), route.clone());
    let progress = Progress { log: Arc::clone(&state.log), number };
    answer(&state, wire, asked(&head, body, route), head.version, progress).await
}

fn asked(head: &http::request::Parts, body: Bytes, route: Route) -> Asked {
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    Asked { method: head.method.clone(), path, headers: head.headers.clone(), body, route }
}

async fn answer(
    state: &State,
    wire: Shared,
    mut asked: Asked,
    version: Version,
    progress: Progress,
) -> Result<Response<Body>, Aborted> {
    let fault = state.faults().take(&asked);
    if let Some(fault) = &fault {
        fault.ask(&mut asked);
    }
    let mut answer = state.character.respond(&mut state.catalog(), &asked);
    if let Some(fault) = &fault {
        fault.spoil(&mut answer);
    }
    let course = fault.map_or(Course::Whole, |fault| fault.course());
    match &course {
        Course::Never => return future::pending().await,
        Course::Late(delay) => tokio::time::sleep(*delay).await,
        Course::Reset => return Err(reset(&wire)),
        _ => {}
    }
    progress.answered(&answer);
    match course {
        Course::Abort { after, framing } if version < Version::HTTP_2 => {
            let wire = wire.take().ok_or(Aborted)?;
            progress.sent(after.min(answer.body.len()));
            // The client may hang up before the cut.
            let _ = wire.finish_with(&delivery::cut(&answer, after, framing)).await;
            Err(Aborted)
        }
        course => Ok(delivery::respond(answer, &course, progress)),
    }
}

fn reset(wire: &Shared) -> Aborted {
    if let Some(wire) = wire.take() {
        wire.reset();
    }
    Aborted
}
