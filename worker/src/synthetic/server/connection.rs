//! One connection: its requests, one after the other, until one of them is a stream.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{
    Server,
    auth::{Login, Scheme},
    camera::Camera,
    fault::Fault,
    request::{MAX_HEAD, Request, View},
    stream,
};

/// So long a client may take over its request.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether the connection is used again.
enum Next {
    Request,
    Close,
}

/// Answers until the client goes. Its errors are its own affair.
pub async fn serve(server: &Server, mut socket: TcpStream) {
    // A frame's last bytes must not wait for an acknowledgement.
    let _ = socket.set_nodelay(true);
    let mut buffer = Vec::new();
    while let Ok(Ok(Some(request))) = timeout(PATIENCE, read(&mut socket, &mut buffer)).await {
        match answer(server, &mut socket, &mut buffer, &request).await {
            Ok(Next::Request) if request.keep_alive => {}
            _ => break,
        }
    }
    let _ = socket.shutdown().await;
}

/// The next request; nothing when the client has closed. What came after it stays in the buffer.
async fn read(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Request>> {
    loop {
        match Request::parse(buffer) {
            Ok(Some((request, length))) => {
                buffer.drain(..length);
                return Ok(Some(request));
            }
            Ok(None) if socket.read_buf(buffer).await? > 0 => {}
            Ok(None) => return Ok(None),
            Err(message) => {
                text(socket, "400 Bad Request", "", &message, false).await?;
                return Ok(None);
            }
        }
    }
}

async fn answer(server: &Server, socket: &mut TcpStream, buffer: &mut Vec<u8>, request: &Request) -> io::Result<Next> {
    let head_only = request.method == "HEAD";
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return text(socket, "405 Method Not Allowed", "Allow: GET, HEAD\r\n", "only GET and HEAD", false).await;
    }
    match request.path() {
        "/healthz" => return text(socket, "200 OK", "", "ok", head_only).await,
        "/stats" => {
            let json = server.stats().to_string();
            return body(socket, "200 OK", "application/json", "", json.as_bytes(), head_only).await;
        }
        _ => {}
    }
    let (index, snapshot) = match place(request.path()) {
        Some((index, snapshot)) if index < server.cameras.len() => (index, snapshot),
        _ => {
            let message = format!("there are /cam0 to /cam{}, each with /snapshot.jpg", server.cameras.len() - 1);
            return text(socket, "404 Not Found", "", &message, head_only).await;
        }
    };
    let camera = &server.cameras[index];
    let view = match server.view.with_query(&request.query(), snapshot) {
        Ok(view) => view,
        Err(message) => return text(socket, "400 Bad Request", "", &message, head_only).await,
    };
    let fault = match view.fault {
        Some(own) => own.map(|plan| plan.fault),
        None => camera.fault(),
    };
    if let Some(fault) = fault.filter(|fault| fault.is_answer()) {
        return misanswer(socket, fault, request, server.login.as_ref()).await;
    }
    if let Some(login) = &server.login
        && !login.admits(&request.method, &request.target, request.authorization.as_deref())
    {
        return unauthorized(socket, &login.challenge(), head_only).await;
    }
    if snapshot {
        return picture(socket, buffer, camera, view, head_only).await;
    }
    let kind = view.format.content_type();
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).await?;
    if !head_only {
        let (reader, writer) = socket.split();
        tokio::select! {
            done = stream::stream(writer, camera, view, server.end) => done?,
            _ = gone(reader, buffer) => {}
        }
    }
    Ok(Next::Close)
}

/// `/` and `/camN` are streams, `/camN/snapshot.jpg` and `/snapshot.jpg` pictures.
fn place(path: &str) -> Option<(usize, bool)> {
    let (path, snapshot) = match path.strip_suffix("/snapshot.jpg") {
        Some(rest) => (rest, true),
        None => (path, false),
    };
    match path {
        "" | "/" => Some((0, snapshot)),
        _ => {
            let digits = path.strip_prefix("/cam")?;
            let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.is_empty();
            plain.then(|| digits.parse().ok()).flatten().map(|index| (index, snapshot))
        }
    }
}

/// Waits until the client has closed its side. What it sends meanwhile may be its next request.
async fn gone(mut reader: impl AsyncReadExt + Unpin, buffer: &mut Vec<u8>) {
    while reader.read_buf(buffer).await.is_ok_and(|n| n > 0) {
        if buffer.len() > MAX_HEAD {
            return;
        }
    }
}

async fn picture(
    socket: &mut TcpStream,
    buffer: &mut Vec<u8>,
    camera: &Camera,
    view: View,
    head_only: bool,
) -> io::Result<Next> {
    let (reader, mut writer) = socket.split();
    let mut shot = tokio::select! {
        shot = stream::snapshot(camera, view) => shot?,
        _ = gone(reader, buffer) => return Ok(Next::Close),
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\r\n",
        shot.kind, shot.claimed
    );
    writer.write_all(head.as_bytes()).await?;
    if head_only {
        return Ok(Next::Request);
    }
    let whole = shot.content.len() == shot.claimed;
    if let Some(pause) = shot.drip {
        for byte in &shot.content {
            writer.write_all(&[*byte]).await?;
            sleep(pause).await;
        }
    } else {
        writer.write_all_buf(&mut shot.content).await?;
    }
    Ok(if whole { Next::Request } else { Next::Close })
}

/// What a broken camera answers instead of a stream.
async fn misanswer(socket: &mut TcpStream, fault: Fault, request: &Request, login: Option<&Login>) -> io::Result<Next> {
    let head_only = request.method == "HEAD";
    match fault {
        Fault::Unauthorized => {
            let challenge = login.map_or_else(|| Login::new("", "", Scheme::Basic).challenge(), Login::challenge);
            unauthorized(socket, &challenge, head_only).await
        }
        Fault::NotFound => text(socket, "404 Not Found", "", "no such camera", head_only).await,
        Fault::RedirectLoop => {
            let location = format!("Location: {}\r\n", request.target);
            text(socket, "302 Found", &location, "it is here", head_only).await
        }
        Fault::Html => {
            let page = "<!DOCTYPE html>\n<html><head><title>Camera login</title></head>\n<body><form>\
                        <input name=user><input name=password type=password></form></body></html>\n";
            body(socket, "200 OK", "text/html; charset=utf-8", "", page.as_bytes(), head_only).await
        }
        _ => text(socket, "500 Internal Server Error", "", "the sensor does not answer", head_only).await,
    }
}

async fn unauthorized(socket: &mut TcpStream, challenge: &str, head_only: bool) -> io::Result<Next> {
    let header = format!("WWW-Authenticate: {challenge}\r\n");
    text(socket, "401 Unauthorized", &header, "log in", head_only).await
}

async fn text(socket: &mut TcpStream, status: &str, headers: &str, message: &str, head_only: bool) -> io::Result<Next> {
    body(socket, status, "text/plain; charset=utf-8", headers, format!("{message}\n").as_bytes(), head_only).await
}

async fn body(
    socket: &mut TcpStream,
    status: &str,
    kind: &str,
    headers: &str,
    content: &[u8],
    head_only: bool,
) -> io::Result<Next> {
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{headers}\r\n", content.len());
    let mut all = head.into_bytes();
    if !head_only {
        all.extend(content);
    }
    socket.write_all(&all).await?;
    Ok(Next::Request)
}
