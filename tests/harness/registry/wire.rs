//! A connection that can be taken out of the hands of the HTTP server, to be reset or written to byte by byte.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// The bytes of one connection, with or without TLS.
pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wire {
    /// Closes with RST instead of FIN.
    pub(crate) fn reset(self) {
        let tcp = match &self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        };
        // Where the option cannot be set, the client sees a FIN: also the end of the connection.
        let _ = tcp.set_zero_linger();
    }

    /// Writes these bytes and closes.
    pub(crate) async fn finish_with(mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = self.stream();
        stream.write_all(bytes).await?;
        stream.shutdown().await
    }

    fn stream(&mut self) -> &mut (dyn Stream + Unpin + Send) {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.as_mut(),
        }
    }
}

trait Stream: AsyncRead + AsyncWrite {}
impl<T: AsyncRead + AsyncWrite> Stream for T {}

/// One of the two ends that share a wire: the HTTP server's, and the one that may take it away.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<Option<Wire>>>);

impl Shared {
    pub(crate) fn new(wire: Wire) -> Self {
        Self(Arc::new(Mutex::new(Some(wire))))
    }

    /// The wire itself; from now on the HTTP server hears and says nothing.
    pub(crate) fn take(&self) -> Option<Wire> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Wire>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll<T>(
        &self,
        taken: Poll<T>,
        poll: impl FnOnce(Pin<&mut (dyn Stream + Unpin + Send)>) -> Poll<T>,
    ) -> Poll<T> {
        match self.lock().as_mut() {
            Some(wire) => poll(Pin::new(wire.stream())),
            None => taken,
        }
    }
}

impl AsyncRead for Shared {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll(Poll::Pending, |stream| stream.poll_read(context, into))
    }
}

impl AsyncWrite for Shared {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll(Poll::Pending, |stream| stream.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(Poll::Ready(Ok(())), |stream| stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(Poll::Ready(Ok(())), |stream| stream.poll_shutdown(context))
    }
}
