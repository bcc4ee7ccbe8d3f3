//! What the configuration points at outside itself: schemas, secrets, certificates, collectors. What `check` passes, `run`
//! starts, so it has to be there.

use std::path::Path;

use backends::kafka::config::KafkaConfig;
use settings::{Lookup, Node, Secret, codes};
use transports::net::config::{AuthMethod, ListenerAuth};

use super::Found;
use crate::config::draft::Draft;
use crate::config::model::Backend;
use crate::config::payload::compile_schema;
use crate::telemetry::spans::Receiver;

pub(super) fn check(draft: &Draft<'_>, folder: &Path, env: &Lookup<'_>, found: &mut Found<'_>) {
    schemas(draft, folder, found);
    let admin = draft.tree.root.get("admin").and_then(|node| node.get("token"));
    if let Some((secret, at)) = draft.admin.as_ref().and_then(|admin| admin.token.as_ref()).zip(admin) {
        readable(secret, at, folder, env, found);
    }
    for piece in &draft.auth {
        if let Some(method) = &piece.value {
            auth(method, piece.node, folder, env, found);
        }
    }
    for piece in &draft.listeners {
        let auth_value = piece.value.as_ref().and_then(|listener| listener.common().auth.as_ref());
        if let (Some(ListenerAuth::Inline(method)), Some(node)) =
            (auth_value, piece.inner().and_then(|inner| inner.get("auth")))
        {
            auth(method, node, folder, env, found);
        }
    }
    for piece in &draft.backends {
        if let (Some(Backend::Kafka(kafka)), Some(inner)) = (&piece.value, piece.inner()) {
            kafka_files(kafka, inner, folder, env, found);
        }
    }
    collector(draft, found);
}

fn auth(method: &AuthMethod, node: &Node, folder: &Path, env: &Lookup<'_>, found: &mut Found<'_>) {
    let Some(inner) = node.entries().first().map(|entry| &entry.node) else { return };
    match method {
        AuthMethod::Network(_) => {}
        AuthMethod::Token(token) => {
            if let Some(at) = inner.get("secret") {
                readable(&token.secret, at, folder, env, found);
            }
        }
        AuthMethod::Users(users) => {
            if let Some(at) = inner.get("file") {
                exists(&users.file, at, folder, found);
            }
        }
    }
}

fn kafka_files(kafka: &KafkaConfig, inner: &Node, folder: &Path, env: &Lookup<'_>, found: &mut Found<'_>) {
    let password = inner.get("sasl").and_then(|node| node.get("password"));
    if let Some((sasl, at)) = kafka.sasl.as_ref().zip(password) {
        readable(&sasl.password, at, folder, env, found);
    }
    if let Some((tls, node)) = kafka.tls.as_ref().zip(inner.get("tls")) {
        for (key, path) in [("ca", &tls.ca), ("cert", &tls.cert), ("key", &tls.key)] {
            if let Some((path, at)) = path.as_ref().zip(node.get(key)) {
                exists(path, at, folder, found);
            }
        }
    }
}

/// A secret that can be read now. Never shows it.
fn readable(secret: &Secret, node: &Node, folder: &Path, env: &Lookup<'_>, found: &mut Found<'_>) {
    let at = node.entries().first().map_or(node.span, |entry| entry.node.span);
    if let Err(problem) = secret.read(folder, env) {
        let code = match secret {
            Secret::File(_) => codes::FILE,
            Secret::Env(_) => codes::ENVIRONMENT,
        };
        let fault = found.error(at, code, "this secret cannot be read");
        found.push(fault.label(problem));
    }
}

fn exists(path: &str, at: &Node, folder: &Path, found: &mut Found<'_>) {
    let full = folder.join(path);
    if let Err(error) = std::fs::File::open(&full) {
        let fault = found.error(at.span, codes::FILE, format!("{path} cannot be read"));
        found.push(fault.label(format!("{}: {error}", full.display())).help("paths start at the folder of this file"));
    }
}

fn schemas(draft: &Draft<'_>, folder: &Path, found: &mut Found<'_>) {
    for piece in &draft.schemas {
        // Read from the tree: a schema of a kind to come is faulty already, and its file is still worth a word.
        let Some((file, at)) = piece.node.get("file").filter(|at| !at.faulty).and_then(|at| Some((at.text()?, at)))
        else {
            continue;
        };
        let extension = Path::new(file).extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        match extension {
            "json" => {
                if let Err(problem) = compile_schema(&folder.join(file)) {
                    let fault = found.error(
                        at.span,
                        codes::FILE,
                        format!("schema {}: {file} is no usable JSON Schema", piece.name),
                    );
                    found.push(fault.label(problem).help("paths start at the folder of this file"));
                }
            }
            "proto" | "avsc" => {
                let fault = found.error(
                    at.span,
                    codes::LATER,
                    format!("schema {}: .{extension} schemas are not built yet", piece.name),
                );
                found.push(fault.label("only JSON Schema (.json) can be used so far"));
            }
            _ => {
                let fault = found.error(
                    at.span,
                    codes::FILE,
                    format!("schema {}: the kind of {file} is not known", piece.name),
                );
                found.push(fault.label("the name of a JSON Schema ends in .json"));
            }
        }
    }
}

fn collector(draft: &Draft<'_>, found: &mut Found<'_>) {
    let node = draft.tree.root.get("telemetry").and_then(|node| node.get("otlp"));
    let Some((url, at)) = draft.telemetry.as_ref().and_then(|telemetry| telemetry.otlp.as_deref()).zip(node) else {
        return;
    };
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/') || rest.contains(char::is_whitespace)) {
        let fault = found.error(at.span, codes::FORMAT, format!("otlp wants a URL, not \"{url}\""));
        found.push(fault.help("write it as in http://127.0.0.1:4318"));
    } else if let Some(Err(why)) = draft.telemetry.as_ref().map(Receiver::of) {
        let fault = found.error(at.span, codes::VALUE, format!("otlp: {why}"));
        found.push(fault.help("write it as in http://127.0.0.1:4318"));
    }
}
