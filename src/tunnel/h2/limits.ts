// Limits of the reversed HTTP/2 connection, the same on both sides.
import type { Settings } from 'node:http2'

/** Bytes under way per stream and connection: 64 kB would give 1 MB/s at 40 ms (trap 30). */
export const WINDOW_BYTES = 8 * 1024 * 1024

/** Streams of one connector at once. */
export const MAX_STREAMS = 1_000

/** Megabytes that one session may hold: all windows of a few fast streams, far below all windows of all streams. */
const SESSION_MEMORY_MB = 128

/** Own pings go out this often on both sides. */
export const PING_MS = 2_000

/** A peer that was not heard of for so long is gone: noticed in under 5 s with the step of the look. */
export const SILENCE_MS = 4_400

/** How often the silence is looked at. */
export const LOOK_MS = 500

/** How long the other side may take from the 101 to its SETTINGS. */
export const GREETING_MS = 5_000

/** Pings and settings that a peer may send between two own pings; a correct one sends one. */
export const CONTROL_FRAMES = 64

/**
 * Bytes a second that may come without being payload of a stream, and how many more for each byte of payload. Frames around
 * payload of one byte and their TLS records stay far below it; floods of frames that carry nothing (WINDOW_UPDATE, padding,
 * header lists that are refused one by one) do not.
 */
export const BARE_BYTES_PER_SECOND = 2 * 1024 * 1024
export const BARE_BYTES_PER_PAYLOAD = 4

/** SETTINGS of both sides. */
const SETTINGS: Settings = {
  initialWindowSize: WINDOW_BYTES,
  maxConcurrentStreams: MAX_STREAMS,
  maxFrameSize: 65_536,
  maxHeaderListSize: 4_096,
  headerTableSize: 0,
  enablePush: false,
  enableConnectProtocol: false,
}

/** Options of both `http2.connect` and `performServerHandshake`. */
export const SESSION_OPTIONS = {
  settings: SETTINGS,
  maxSessionMemory: SESSION_MEMORY_MB,
  maxDeflateDynamicTableSize: 0,
  maxSettings: 16,
  maxReservedRemoteStreams: 0,
  maxOutstandingPings: 4,
  maxHeaderListPairs: 32,
  maxSessionInvalidFrames: 8,
  maxSessionRejectedStreams: 8,
  peerMaxConcurrentStreams: MAX_STREAMS,
} as const
