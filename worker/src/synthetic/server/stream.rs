//! One client's stream: the camera's frames, written as its view asks, with its faults.

use std::{
    io,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes};
use jiff::Timestamp;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    time::{sleep, sleep_until},
};

use super::{
    camera::{Camera, Shot},
    fault::{Fault, Trigger},
    request::View,
};
use crate::synthetic::scene::Random;

/// What [`Fault::HugePart`] claims and sends, in bytes.
pub const HUGE: usize = 200_000_000;
const JPEG: &str = "image/jpeg";

/// Writes parts until the client goes, the camera ends (`ends`: with a last delimiter; otherwise in silence) or a
/// fault closes the connection.
pub async fn stream<W: AsyncWrite + Unpin>(out: W, camera: &Camera, view: View, ends: bool) -> io::Result<()> {
    let mut client = Client { out, view, first: true };
    let mut trigger = view.fault.flatten().map(Trigger::new);
    let mut shots = camera.watch();
    let (mut good, mut shown, mut seen) = (0, None, None::<u64>);
    if camera.over().is_some() {
        return client.end(ends).await;
    }
    loop {
        // These two do not wait for a frame; any other fault begins with one, however short it is.
        let at_once = |fault: &Fault| matches!(fault, Fault::Stall | Fault::Flood);
        let own = trigger.as_mut().filter(|trigger| at_once(&trigger.fault()));
        let own = own.and_then(|trigger| trigger.active(good, Instant::now()));
        let until = trigger.as_ref().and_then(Trigger::ends);
        let shot = match own {
            Some(Fault::Stall) => {
                wait_until(until).await;
                // What came meanwhile was not missed for slowness.
                shots.mark_unchanged();
                seen = None;
                continue;
            }
            Some(Fault::Flood) => {
                let (sequence, time) = (seen.map_or(0, |n| n + 1), Timestamp::now());
                // The frames of a flood are this client's own; without giving way, others would starve.
                tokio::task::yield_now().await;
                Shot { sequence, time, jpeg: camera.picture(sequence, time), fault: None, last: false }
            }
            _ => {
                // The camera outlives its clients; that nothing comes any more cannot happen.
                shots.changed().await.map_err(io::Error::other)?;
                let Some(shot) = shots.borrow_and_update().clone() else { continue };
                if let Some(before) = seen {
                    camera.skipped.fetch_add(shot.sequence.saturating_sub(before + 1), Relaxed);
                }
                shot
            }
        };
        seen = Some(shot.sequence);
        let own = trigger.as_mut().and_then(|trigger| trigger.active(good, Instant::now()));
        let fault = if view.fault.is_some() { own } else { shot.fault };
        let until = trigger.as_ref().and_then(Trigger::ends);
        if fault != Some(Fault::Freeze) || shown.is_none() {
            shown = Some((shot.sequence, shot.time));
        }
        let jpeg = match (fault, shown) {
            (Some(fault), Some(shown)) => camera.distorted(&shot, fault, shown),
            _ => shot.jpeg.clone(),
        };
        let jpeg = view.format.picture(jpeg);
        match fault {
            Some(Fault::Stall) => continue,
            Some(fault) if fault.is_answer() => return Ok(()),
            Some(Fault::Disconnect) => return client.half(&jpeg, jpeg.len()).await,
            Some(Fault::Truncated) => {
                client.half(&jpeg, jpeg.len() / 2).await?;
                client.after().await?;
            }
            Some(Fault::TruncatedClaim) => {
                client.half(&jpeg, jpeg.len()).await?;
                client.after().await?;
            }
            Some(Fault::EndlessHeader) => return client.endless_header(until).await,
            Some(Fault::HugePart) => client.huge(&jpeg).await?,
            Some(Fault::Drip) => client.drip(&jpeg, until).await?,
            _ => {
                match fault {
                    Some(Fault::Garbage) => client.out.write_all(&garbage(shot.sequence)).await?,
                    Some(Fault::EmptyParts) => client.part(JPEG, &Bytes::new()).await?,
                    Some(Fault::NotImage) => client.part("text/plain", &not_image(&shot)).await?,
                    _ => {}
                }
                client.part(JPEG, &jpeg).await?;
            }
        }
        camera.sent.fetch_add(1, Relaxed);
        good += u64::from(fault.is_none());
        if shot.last {
            return client.end(ends).await;
        }
    }
}

/// Where a stream goes to.
struct Client<W> {
    out: W,
    view: View,
    first: bool,
}

impl<W: AsyncWrite + Unpin> Client<W> {
    fn before(&mut self, kind: &str, claimed: usize) -> Bytes {
        let text = self.view.format.before(self.first, kind, claimed);
        self.first = false;
        text.into()
    }

    /// A whole part, without copying the picture.
    async fn part(&mut self, kind: &str, content: &Bytes) -> io::Result<()> {
        let before = self.before(kind, content.len());
        let mut all = before.chain(content.clone()).chain(self.view.format.after());
        self.out.write_all_buf(&mut all).await
    }

    /// The first half of a picture, with any claim.
    async fn half(&mut self, jpeg: &Bytes, claimed: usize) -> io::Result<()> {
        let before = self.before(JPEG, claimed);
        self.out.write_all_buf(&mut before.chain(jpeg.slice(..jpeg.len() / 2))).await
    }

    async fn after(&mut self) -> io::Result<()> {
        self.out.write_all(self.view.format.after()).await
    }

    /// Random bytes behind a picture's, made as they are sent.
    async fn huge(&mut self, jpeg: &Bytes) -> io::Result<()> {
        let before = self.before(JPEG, HUGE);
        let start = jpeg.slice(..jpeg.len() / 2);
        let noise: Bytes = random_bytes(1, 64 * 1024).into();
        let mut left = HUGE - start.len();
        self.out.write_all_buf(&mut before.chain(start)).await?;
        while left > 0 {
            let piece = noise.slice(..left.min(noise.len()));
            self.out.write_all(&piece).await?;
            left -= piece.len();
        }
        self.after().await
    }

    async fn endless_header(&mut self, until: Option<Instant>) -> io::Result<()> {
        let head = self.before(JPEG, HUGE);
        // All but the empty line that would end it.
        let end = if head.ends_with(b"\r\n") { 2 } else { 1 };
        self.out.write_all(&head[..head.len() - end]).await?;
        let mut number = 0u64;
        while until.is_none_or(|until| Instant::now() < until) {
            let line = format!("X-Camera-Setting-{number}: {}\r\n", "on".repeat(100));
            self.out.write_all(line.as_bytes()).await?;
            number += 1;
        }
        Ok(())
    }

    async fn drip(&mut self, jpeg: &Bytes, until: Option<Instant>) -> io::Result<()> {
        let mut all = self.before(JPEG, jpeg.len()).chain(jpeg.clone()).chain(self.view.format.after());
        while all.has_remaining() && until.is_none_or(|until| Instant::now() < until) {
            self.out.write_all(&[all.get_u8()]).await?;
            sleep(self.view.pause).await;
        }
        self.out.write_all_buf(&mut all).await
    }

    /// After the last frame.
    async fn end(&mut self, ends: bool) -> io::Result<()> {
        if !ends {
            std::future::pending::<()>().await;
        }
        self.out.write_all(self.view.format.end().as_bytes()).await
    }
}

async fn wait_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

fn not_image(shot: &Shot) -> Bytes {
    format!("frame {} follows\r\n", shot.sequence).into()
}

/// 1 to 4096 bytes, the same for the same frame.
fn garbage(sequence: u64) -> Vec<u8> {
    let length = 1 + Random::new(sequence).next() as usize % 4096;
    random_bytes(sequence, length)
}

fn random_bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..length).map(|_| random.next() as u8).collect()
}

/// One picture by itself, for `/camN/snapshot.jpg`: Content-Type, Content-Length as claimed, and the content.
pub struct Snapshot {
    /// The content's type.
    pub kind: &'static str,
    /// What Content-Length says.
    pub claimed: usize,
    /// The content.
    pub content: Bytes,
    /// Send it byte by byte with this pause.
    pub drip: Option<Duration>,
}

/// Waits for the camera's next frame (or takes the last one). Never returns while a stall lasts.
pub async fn snapshot(camera: &Camera, view: View) -> io::Result<Snapshot> {
    let mut shots = camera.watch();
    let shot = loop {
        if let Some(shot) = camera.over() {
            break shot;
        }
        shots.changed().await.map_err(io::Error::other)?;
        let shot = shots.borrow_and_update().clone();
        if let Some(shot) = shot {
            break shot;
        }
    };
    let fault = match view.fault {
        Some(own) => own.map(|plan| plan.fault),
        None => shot.fault,
    };
    if fault == Some(Fault::Stall) {
        std::future::pending::<()>().await;
    }
    // A frozen camera shows every snapshot the same picture, its very first.
    let jpeg = fault.map_or(shot.jpeg.clone(), |fault| camera.distorted(&shot, fault, (0, Timestamp::UNIX_EPOCH)));
    let jpeg = view.format.picture(jpeg);
    let half = jpeg.slice(..jpeg.len() / 2);
    camera.sent.fetch_add(1, Relaxed);
    let drip = (fault == Some(Fault::Drip)).then_some(view.pause);
    Ok(match fault {
        Some(Fault::Truncated) => Snapshot { kind: JPEG, claimed: half.len(), content: half, drip },
        Some(Fault::TruncatedClaim | Fault::Disconnect) => {
            Snapshot { kind: JPEG, claimed: jpeg.len(), content: half, drip }
        }
        Some(Fault::EmptyParts) => Snapshot { kind: JPEG, claimed: 0, content: Bytes::new(), drip },
        Some(Fault::NotImage) => {
            let content = not_image(&shot);
            Snapshot { kind: "text/plain", claimed: content.len(), content, drip }
        }
        _ => Snapshot { kind: JPEG, claimed: jpeg.len(), content: jpeg, drip },
    })
}
