// Tells whether the other side of a reversed HTTP/2 connection lives: own pings, and any byte that comes counts.
import type { Http2Session, Http2Stream } from 'node:http2'
import {
  BARE_BYTES_PER_PAYLOAD,
  BARE_BYTES_PER_SECOND,
  CONTROL_FRAMES,
  LOOK_MS,
  PING_MS,
  SILENCE_MS,
} from './limits.ts'

/** Watches a session until it closes. */
export type Liveness = {
  /** Monotonic milliseconds of the last sign of life. */
  readonly heardMs: () => number
  /** Counts the payload of a stream from now on: what comes beside payload is limited. */
  readonly countPayload: (stream: Http2Stream) => void
}

/**
 * Watches a session. Pings are answered by the other end of the tunnel, never by a service behind it: a service that is
 * down is no reason to restart a tunnel. Any byte counts as life, because an answer to a ping waits behind megabytes of data.
 * @param bytesRead bytes that came from the peer so far
 * @param lost called with the reason, and again as long as the session does not close after it. `broken`: the other side does
 *   what a correct one never does
 */
export function watchLiveness(
  session: Http2Session,
  bytesRead: () => number,
  nowMs: () => number,
  lost: (why: string, broken: boolean) => void,
): Liveness {
  let heardMs = nowMs()
  let pingedMs = heardMs
  let lookedMs = heardMs
  let read = bytesRead()
  let controlFrames = 0
  let payload = 0
  const hear = (): void => {
    heardMs = nowMs()
  }
  const count = (): void => {
    hear()
    controlFrames++
    if (controlFrames > CONTROL_FRAMES)
      lost(`more than ${CONTROL_FRAMES} control frames in ${PING_MS} ms`, true)
  }
  const look = (): void => {
    // A session that is destroyed after a graceful close waits for its socket to end, and a peer that is gone never lets it.
    if (session.destroyed) return lost('its end was not answered', false)
    const now = nowMs()
    const bytes = bytesRead()
    if (bytes !== read) hear()
    const bare = bytes - read - payload * (1 + BARE_BYTES_PER_PAYLOAD)
    const spanMs = Math.max(LOOK_MS, now - lookedMs)
    read = bytes
    payload = 0
    if (bare > (BARE_BYTES_PER_SECOND * spanMs) / 1_000)
      return lost(`${Math.round(bare / 1_024)} KiB in ${Math.round(spanMs)} ms carried nothing`, true)
    // The process itself was held up: what came meanwhile is read before anybody is called dead.
    const stalled = now - lookedMs > LOOK_MS * 4
    lookedMs = now
    if (!stalled && now - heardMs > SILENCE_MS)
      return lost(`nothing was heard for ${Math.round(now - heardMs)} ms`, false)
    if (now - pingedMs < PING_MS) return
    pingedMs = now
    controlFrames = 0
    const answered = (error: Error | null): void => {
      if (error === null) hear()
    }
    // After a graceful end Node sends no PING (and says so to nobody but the callback), while a silent stream may go on for hours.
    // SETTINGS that change nothing are answered like one.
    if (session.closed) session.settings({}, answered)
    else session.ping(answered)
  }
  const timer = setInterval(look, LOOK_MS)
  timer.unref()
  session.on('ping', count)
  session.on('remoteSettings', count)
  session.once('close', () => clearInterval(timer))
  return {
    heardMs: () => heardMs,
    countPayload: stream => {
      const push = stream.push.bind(stream)
      // What Node hands to a stream goes through here, and nothing else of a frame does.
      stream.push = (chunk: Buffer | null, encoding?: BufferEncoding) => {
        if (chunk !== null) payload += chunk.length
        return push(chunk, encoding)
      }
    },
  }
}
