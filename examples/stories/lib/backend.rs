//! A small HTTP backend to put behind nginx: it says who it is, can be told to fail its health check, and dies at
//! once on SIGTERM, with whatever it was answering, as many real backends do.
//!
//! ```text
//! backend --listen 127.0.0.1:8081 --name nginx1 --version v0.1.0 --delay 100ms
//!
//! GET /health              200 "ok", or what it was told
//! PUT /health?status=500   from now on /health answers 500
//! PUT /health?delay=5s     from now on /health takes 5 s to answer
//! GET /count               how many requests to other paths it has answered so far
//! any other path, method   after the delay: its name, and its version when it has one; the name also as X-Backend
//! ```
//!
//! Port 0 takes a free port. One line on standard output tells the address as soon as connections are accepted.
#![allow(
    clippy::print_stdout,
    reason = "standard output is where this program tells its address"
)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// A small HTTP backend that tells its name.
#[derive(Debug, Parser)]
#[command(name = "backend")]
struct Args {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: SocketAddr,

    /// What it answers
    #[arg(long)]
    name: String,

    /// Answered behind the name
    #[arg(long)]
    version: Option<String>,

    /// How long every answer takes, except those of /health and /count
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "0s")]
    delay: Duration,
}

/// What all connections share.
#[derive(Debug)]
struct Backend {
    name: HeaderValue,
    answer: String,
    delay: Duration,
    health: AtomicU16,
    /// In milliseconds.
    health_delay: AtomicU64,
    answered: AtomicU64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args).await {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("backend {}: {error:#}", args.name);
            ExitCode::FAILURE
        }
    }
}

/// Listens and answers until the process is ended.
async fn run(args: &Args) -> anyhow::Result<Infallible> {
    let backend = Backend::new(args)?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    println!(
        "backend {} listening on {}",
        args.name,
        listener.local_addr()?
    );

    let backend = Arc::new(backend);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve(stream, Arc::clone(&backend)));
            }
            // Out of file descriptors, most likely: some connection must end before the next can begin.
            Err(error) => {
                eprintln!("backend {}: cannot accept a connection: {error}", args.name);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Answers one connection until its client is done with it.
async fn serve(stream: TcpStream, backend: Arc<Backend>) {
    // Without it the kernel may hold an answer back for the length of a delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let backend = Arc::clone(&backend);
        async move { Ok::<_, Infallible>(backend.answer(request).await) }
    });
    // No timer: closing an idle connection just when nginx sends a request on it would lose that request. And a client
    // that goes away in the middle is its own affair.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

impl Backend {
    fn new(args: &Args) -> anyhow::Result<Self> {
        let name =
            HeaderValue::try_from(&args.name).context("the name cannot stand in a header")?;
        let answer = match &args.version {
            Some(version) => format!("{} {version}\n", args.name),
            None => format!("{}\n", args.name),
        };
        Ok(Self {
            name,
            answer,
            delay: args.delay,
            health: AtomicU16::new(StatusCode::OK.as_u16()),
            health_delay: AtomicU64::new(0),
            answered: AtomicU64::new(0),
        })
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let method = request.method().clone();
        let uri = request.uri().clone();
        discard(request.into_body()).await;
        match (method, uri.path()) {
            (Method::GET | Method::HEAD, "/health") => self.health().await,
            (Method::PUT, "/health") => self.set_health(uri.query().unwrap_or_default()),
            (_, "/health") => text(StatusCode::METHOD_NOT_ALLOWED, "GET or PUT /health\n"),
            (_, "/count") => text(
                StatusCode::OK,
                format!("{}\n", self.answered.load(Ordering::Relaxed)),
            ),
            _ => {
                // Even a sleep of no time lasts until the clock's next millisecond.
                if !self.delay.is_zero() {
                    tokio::time::sleep(self.delay).await;
                }
                self.answered.fetch_add(1, Ordering::Relaxed);
                let mut answer = text(StatusCode::OK, self.answer.clone());
                answer.headers_mut().insert("x-backend", self.name.clone());
                answer
            }
        }
    }

    async fn health(&self) -> Response<Full<Bytes>> {
        let delay = Duration::from_millis(self.health_delay.load(Ordering::Relaxed));
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let status = StatusCode::from_u16(self.health.load(Ordering::Relaxed));
        match status {
            Ok(StatusCode::OK) => text(StatusCode::OK, "ok\n"),
            Ok(status) => text(status, "failing, as it was told\n"),
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "failing\n"),
        }
    }

    fn set_health(&self, query: &str) -> Response<Full<Bytes>> {
        let told = match query.split_once('=') {
            Some(("status", digits)) => self.set_status(digits),
            Some(("delay", time)) => self.set_delay(time),
            _ => None,
        };
        match told {
            Some(told) => text(StatusCode::OK, format!("/health {told} from now on\n")),
            None => text(
                StatusCode::BAD_REQUEST,
                "PUT /health?status=CODE with a CODE from 200 to 599, or ?delay=TIME as in 5s\n",
            ),
        }
    }

    fn set_status(&self, digits: &str) -> Option<String> {
        let status = digits
            .parse()
            .ok()
            .filter(|status| (200..=599).contains(status))?;
        self.health.store(status, Ordering::Relaxed);
        Some(format!("answers {status}"))
    }

    fn set_delay(&self, time: &str) -> Option<String> {
        let delay = humantime::parse_duration(time).ok()?;
        let milliseconds = delay.as_millis().try_into().ok()?;
        self.health_delay.store(milliseconds, Ordering::Relaxed);
        Some(format!("takes {}", humantime::format_duration(delay)))
    }
}

/// Reads a request's body to its end, so that the connection can carry the next request.
async fn discard(mut body: Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}
