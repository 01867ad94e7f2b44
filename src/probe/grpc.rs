//! gRPC probes: the health service that gRPC itself defines (`grpc.health.v1`).

use std::error::Error as StdError;
use std::fmt;
use std::str::FromStr;

use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, transport};

use crate::model::Endpoint;
use crate::util::explain::{Peer, explain};
use crate::util::sanitize::short;

/// Calls `grpc.health.v1.Health/Check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcProbe {
    endpoint: Endpoint,
    /// The server's service to check; empty for the whole server.
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// The status that passes.
const SERVING: i32 = 1;

impl FromStr for GrpcProbe {
    type Err = String;

    /// Parses `HOST:PORT[/SERVICE]`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (endpoint, service) = text.split_once('/').unwrap_or((text, ""));
        let endpoint = endpoint.parse().map_err(|error| format!("{error}"))?;
        Ok(Self {
            endpoint,
            service: service.to_owned(),
        })
    }
}

impl fmt::Display for GrpcProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "grpc://{}", self.endpoint)?;
        if !self.service.is_empty() {
            write!(f, "/{}", self.service)?;
        }
        Ok(())
    }
}

impl GrpcProbe {
    /// One call over its own connection; `Err` says why it fails.
    pub(super) async fn attempt(&self) -> Result<(), String> {
        let url = format!("http://{}", self.endpoint);
        let place = self.endpoint.to_string();
        let failure = |error: &(dyn StdError + 'static)| explain(error, Peer::plain(&place));
        let endpoint = transport::Endpoint::from_shared(url).map_err(|error| failure(&error))?;
        let channel = endpoint.connect().await;
        let channel = channel.map_err(|error| failure(&error))?;
        let mut client = tonic::client::Grpc::new(channel);
        client.ready().await.map_err(|error| failure(&error))?;
        let request = Request::new(CheckRequest {
            service: self.service.clone(),
        });
        let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
        let codec = tonic_prost::ProstCodec::<CheckRequest, CheckResponse>::default();
        let answer = client.unary(request, path, codec).await;
        match answer {
            Ok(answer) => judge(answer.into_inner().status),
            // The server sent no status: the connection failed.
            Err(status) if status.source().is_some() => Err(failure(&status)),
            Err(status) => Err(match status.message() {
                "" => format!("gRPC status {}: {}", status.code() as i32, status.code()),
                message => format!("gRPC status {}: {}", status.code() as i32, short(message)),
            }),
        }
    }
}

fn judge(status: i32) -> Result<(), String> {
    match status {
        SERVING => Ok(()),
        0 => Err("health status UNKNOWN".to_owned()),
        2 => Err("health status NOT_SERVING".to_owned()),
        3 => Err("health status SERVICE_UNKNOWN".to_owned()),
        other => Err(format!("health status {other}")),
    }
}

#[cfg(test)]
mod tests;
