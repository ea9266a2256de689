//! Requests to the application: connections are kept and used again, redirects are not followed, answers are bounded.
//!
//! A request that may have been seen is never sent twice from here: whether it is repeated is decided by who sent it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Request, Response, StatusCode, Uri, body::Incoming};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::config::Place;
use crate::backend::fetch;
use crate::http::{self, Body, BodyError};
use crate::metrics::WebhookFailure as Failure;

/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How long a connection is kept that nobody uses. Servers close theirs after two seconds or more, and what is sent at
/// that moment is lost.
const IDLE_MAX: Duration = Duration::from_millis(1500);

/// How long a connection may take to be ready once more.
const READY_PATIENCE: Duration = Duration::from_millis(100);

/// Where the application is, and the connections to it.
pub(super) struct Client {
    place: Place,
    host: HeaderValue,
    /// Those that nobody uses, the one used last at the end.
    idle: Mutex<Vec<(SendRequest<Body>, Instant)>>,
    idle_max: usize,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive() // the URL may hold a secret
    }
}

impl Client {
    pub(super) fn new(place: Place, idle_max: usize) -> Result<Self, String> {
        fetch::check(&place.uri)?;
        let authority = place.uri.authority().map_or("", |authority| authority.as_str());
        let host = HeaderValue::from_str(authority).map_err(|_| "has no host".to_owned())?;
        Ok(Self {
            place,
            host,
            idle: Mutex::default(),
            idle_max,
        })
    }

    /// Sends a body with these headers; the answer's status and body.
    pub(super) async fn post(&self, headers: HeaderMap, body: Bytes) -> Result<(StatusCode, Bytes), Failure> {
        let mut request = self.request(headers, body)?;
        let kept = self.kept();
        let (mut sender, response) = match kept {
            Some(mut sender) => match sender.try_send_request(request).await {
                Ok(response) => (sender, response),
                Err(mut error) => match error.take_message() {
                    // It was closed before anything of this went out.
                    Some(unsent) => {
                        request = unsent;
                        self.post_anew(request).await?
                    }
                    None => return Err(failure(error.error())),
                },
            },
            None => self.post_anew(request).await?,
        };
        let status = response.status();
        let body = http::collect(response.into_body(), ANSWER_BYTES_MAX).await;
        let body = body.map_err(|error| match error {
            BodyError::TooLarge => Failure::TooLarge,
            BodyError::Broken => Failure::Cut,
            BodyError::Late => Failure::Timeout,
        })?;
        if let Ok(Ok(())) = tokio::time::timeout(READY_PATIENCE, sender.ready()).await {
            self.keep(sender);
        }
        Ok((status, body))
    }

    fn request(&self, headers: HeaderMap, body: Bytes) -> Result<Request<Body>, Failure> {
        let target = self.place.uri.path_and_query().map_or("/", |target| target.as_str());
        let target: Uri = target.parse().map_err(|_| Failure::Connection)?; // it was read with the URL
        let mut request = Request::post(target)
            .body(http::body(body))
            .map_err(|_| Failure::Connection)?;
        let own = request.headers_mut();
        *own = headers;
        own.insert(HOST, self.host.clone());
        own.insert(ACCEPT, HeaderValue::from_static("application/json"));
        own.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        own.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("roomcast/", env!("CARGO_PKG_VERSION"))),
        );
        if let Some(authorization) = &self.place.authorization {
            own.insert(AUTHORIZATION, authorization.clone());
        }
        Ok(request)
    }

    /// Sends a request on a connection of its own.
    async fn post_anew(&self, request: Request<Body>) -> Result<(SendRequest<Body>, Response<Incoming>), Failure> {
        let stream = fetch::connect(&self.place.uri).await.map_err(|problem| {
            tracing::debug!("the webhook {problem}");
            Failure::Connection
        })?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_BYTES_MAX);
        let (mut sender, connection) = builder
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failure(&error))?;
        tokio::spawn(async move {
            let _ = connection.await; // whoever waits for an answer hears of it
        });
        let response = sender.send_request(request).await.map_err(|error| failure(&error))?;
        Ok((sender, response))
    }

    /// A connection that was used a moment ago and is open still.
    fn kept(&self) -> Option<SendRequest<Body>> {
        let now = Instant::now();
        let mut idle = self.idle.lock();
        idle.retain(|(sender, since)| now - *since < IDLE_MAX && sender.is_ready());
        idle.pop().map(|(sender, _)| sender)
    }

    fn keep(&self, sender: SendRequest<Body>) {
        let mut idle = self.idle.lock();
        if idle.len() < self.idle_max {
            idle.push((sender, Instant::now()));
        }
    }
}

/// What it means that no answer came: what is no HTTP is an answer all the same, and a bad one.
fn failure(error: &hyper::Error) -> Failure {
    tracing::debug!("the webhook broke off: {error}");
    if error.is_parse() {
        Failure::Invalid
    } else {
        Failure::Connection
    }
}
