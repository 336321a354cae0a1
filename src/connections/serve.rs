//! Serves connections on a few threads. Knows: threads, actix-http, and how serving begins and ends. Must not know:
//! what is asked or answered.

use std::fmt;
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use actix_http::{HttpService, Request, Response};
use actix_service::{IntoServiceFactory, Service, ServiceFactory, apply_fn_factory, map_config};
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::AppConfig;
use actix_web::web::Bytes;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, LocalSet, spawn_blocking};

use super::accept::Acceptor;
use super::guarded::Guarded;
use super::open::{Closed, Limits, Open, OpenRequest, Registry};

/// The pause between two looks for connections that wait for too long.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a connection that is closed may take to say so.
const FAREWELL: Duration = Duration::from_secs(1);
/// The most threads.
const MOST_THREADS: usize = 64;
/// The most threads for work that blocks, of all threads together.
const BLOCKING_THREADS: usize = 512;

/// A connection on its way to the thread that serves it.
type Accepted = (TcpStream, OwnedSemaphorePermit);

/// Connections that are being served.
#[derive(Debug)]
pub struct Connections {
    room: Arc<Semaphore>,
    registry: Arc<Registry>,
    limits: Limits,
    /// Serving ends: no connection is accepted, and requests under way are the last.
    ends: watch::Sender<bool>,
    /// A part has ended that the others need.
    has_ended: Arc<watch::Sender<bool>>,
    accepting: JoinHandle<()>,
    looking: JoinHandle<()>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Connections {
    /// Serves what `app` makes, once for each thread. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// If the listener or a thread cannot be used.
    pub fn serve<F, I, S, B>(listener: TcpListener, limits: Limits, app: F) -> io::Result<Self>
    where
        F: Fn() -> I + Send + Clone + 'static,
        I: IntoServiceFactory<S, Request>,
        S: ServiceFactory<Request, Config = AppConfig, Error = actix_web::Error> + 'static,
        S::InitError: fmt::Debug,
        S::Response: Into<Response<B>> + 'static,
        B: MessageBody + 'static,
    {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let room = Arc::new(Semaphore::new(limits.connections));
        let registry = Arc::new(Registry::default());
        let ends = watch::Sender::new(false);
        let has_ended = Arc::new(watch::Sender::new(false));
        let part = || Part(Arc::clone(&has_ended));
        let count = thread::available_parallelism().map_or(2, usize::from).min(MOST_THREADS);
        let (mut senders, mut threads) = (Vec::new(), Vec::new());
        for number in 0..count {
            let (sender, accepted) = mpsc::unbounded_channel();
            let blocking = (BLOCKING_THREADS / count).max(1);
            let thread = Thread {
                registry: Arc::clone(&registry),
                accepted,
                limits,
                ends: ends.subscribe(),
                blocking,
                _part: part(),
            };
            let app = app.clone();
            threads.push(thread.start(number, move |thread| thread.serve(app))?);
            senders.push(sender);
        }
        let acceptor = Acceptor::new(listener, Arc::clone(&room), Arc::clone(&registry));
        let accepting = tokio::spawn(accept(part(), acceptor, senders, ends.subscribe()));
        let looking = tokio::spawn(look(part(), Arc::clone(&registry), limits));
        Ok(Self { room, registry, limits, ends, has_ended, accepting, looking, threads })
    }

    /// Waits until a part of it ends, which only a fault can cause before [`Self::stop`].
    pub async fn ended(&self) {
        // Its sender is here, so there is no other way for this to end.
        let _ = self.has_ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// Accepts no more connections, lets requests under way finish, and ends the others.
    pub async fn stop(self) {
        self.ends.send_replace(true);
        // Ended by the line above; a panic in it was logged.
        let _ = self.accepting.await;
        let all = u32::try_from(self.limits.connections).unwrap_or(u32::MAX);
        if tokio::time::timeout(self.limits.shutdown, self.room.acquire_many(all)).await.is_err() {
            let broken_off = self.registry.close_all();
            tracing::warn!(
                connections = broken_off,
                "requests were under way for too long and are broken off"
            );
        }
        self.looking.abort();
        // Their end is what is waited for, whichever way they ended.
        let threads = self.threads;
        let _ = spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join()))).await;
    }
}

/// Held by each task and thread, for as long as it runs.
#[derive(Debug)]
struct Part(Arc<watch::Sender<bool>>);

impl Drop for Part {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

/// Hands each connection to the next thread. The threads end when this does.
async fn accept(
    _part: Part,
    mut acceptor: Acceptor,
    threads: Vec<mpsc::UnboundedSender<Accepted>>,
    mut ends: watch::Receiver<bool>,
) {
    for thread in threads.iter().cycle() {
        let accepted = tokio::select! {
            _ = ends.wait_for(|ends| *ends) => return,
            accepted = acceptor.next() => accepted,
        };
        if thread.send(accepted).is_err() {
            tracing::error!("a thread that serves connections has ended, and a connection with it");
        }
    }
}

/// Ends connections that wait for their clients for too long.
async fn look(_part: Part, registry: Arc<Registry>, limits: Limits) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let closed = registry.close_overdue(Instant::now(), &limits);
        if closed != Closed::default() {
            let Closed { unread, head, idle } = closed;
            tracing::info!(
                unread,
                head,
                idle,
                "connections were closed whose clients did not read on, or not finish a request"
            );
        }
    }
}

/// What one thread needs.
struct Thread {
    registry: Arc<Registry>,
    accepted: mpsc::UnboundedReceiver<Accepted>,
    limits: Limits,
    ends: watch::Receiver<bool>,
    blocking: usize,
    _part: Part,
}

impl Thread {
    fn start<Work: Future<Output = ()>>(
        self,
        number: usize,
        work: impl FnOnce(Self) -> Work + Send + 'static,
    ) -> io::Result<thread::JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(self.blocking)
            .build()?;
        thread::Builder::new().name(format!("http-{number}")).spawn(move || {
            LocalSet::new().block_on(&runtime, work(self));
            // What still blocks is not waited for.
            runtime.shutdown_background();
        })
    }

    /// Serves each connection until it ends, or until no more can come and the last request is answered.
    async fn serve<F, I, S, B>(mut self, app: F)
    where
        F: Fn() -> I,
        I: IntoServiceFactory<S, Request>,
        S: ServiceFactory<Request, Config = AppConfig, Error = actix_web::Error> + 'static,
        S::InitError: fmt::Debug,
        S::Response: Into<Response<B>> + 'static,
        B: MessageBody + 'static,
    {
        let app = map_config(app().into_factory(), |()| AppConfig::default());
        let counted = apply_fn_factory(app, |request: Request, app: &S::Service| {
            let open_request = request.conn_data::<Arc<Open>>().map(Open::begin);
            let answer = app.call(request);
            async move {
                let answer: Response<B> = answer.await?.into();
                Ok(answer.map_body(|_, body| CountedBody { body: Box::pin(body), _request: open_request }))
            }
        });
        let ends = self.ends.clone();
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let mut ends = ends.clone();
                async move { drop(ends.wait_for(|ends| *ends).await) }
            })
            .keep_alive(self.limits.idle)
            .client_request_timeout(self.limits.head)
            .client_disconnect_timeout(FAREWELL)
            .on_connect_ext(|io: &Guarded, data| drop(data.insert(Arc::clone(&io.registered.open))))
            .h1(counted);
        let Ok(http) = http.new_service(()).await.map(Rc::new) else {
            return tracing::error!("a thread cannot serve connections");
        };
        let mut serving = tokio::task::JoinSet::new();
        loop {
            let (stream, place) = tokio::select! {
                accepted = self.accepted.recv() => match accepted {
                    Some(accepted) => accepted,
                    None => break,
                },
                Some(_) = serving.join_next() => continue,
            };
            let (registered, cut) = self.registry.add();
            let http = Rc::clone(&http);
            serving.spawn_local(async move {
                let _place = place;
                let Ok((stream, peer)) = of_this_thread(stream) else { return };
                let connection = Guarded::new(stream, registered, cut);
                if let Err(error) = http.call((connection, peer)).await {
                    tracing::debug!(%error, "a connection ended with an error");
                }
            });
        }
        while serving.join_next().await.is_some() {}
    }
}

/// A connection whose events this thread hears of.
fn of_this_thread(accepted: TcpStream) -> io::Result<(TcpStream, Option<std::net::SocketAddr>)> {
    let stream = TcpStream::from_std(accepted.into_std()?)?;
    // An answer leaves at once, whatever was written before.
    stream.set_nodelay(true)?;
    let peer = stream.peer_addr().ok();
    Ok((stream, peer))
}

/// The body of a reply. Its request counts as open until the last of it is taken.
struct CountedBody<B> {
    body: Pin<Box<B>>,
    _request: Option<OpenRequest>,
}

impl<B: MessageBody> MessageBody for CountedBody<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        self.body.as_mut().poll_next(context)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use actix_web::App;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// Serves nothing, on as many threads as there are processors, some of which do not get as far as that.
    fn served(broken: usize) -> Connections {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let second = Duration::from_secs(1);
        let limits = Limits { connections: 8, head: second, answer: second, idle: second, shutdown: second };
        let started = Arc::new(AtomicUsize::new(0));
        let app = move || {
            assert!(
                started.fetch_add(1, Ordering::Relaxed) >= broken,
                "this thread breaks, as the test wants"
            );
            App::new()
        };
        Connections::serve(listener, limits, app).unwrap()
    }

    #[tokio::test]
    async fn the_end_of_a_thread_is_known() {
        let connections = served(1);
        tokio::time::timeout(PATIENCE, connections.ended()).await.unwrap();
        // What is left of it can still be stopped.
        tokio::time::timeout(PATIENCE, connections.stop()).await.unwrap();
    }

    #[tokio::test]
    async fn what_runs_has_not_ended() {
        let connections = served(0);
        let ended = connections.has_ended.subscribe();
        assert!(!*ended.borrow());
        tokio::time::timeout(PATIENCE, connections.stop()).await.unwrap();
        assert!(*ended.borrow());
    }
}
