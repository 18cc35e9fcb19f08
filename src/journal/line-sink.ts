// Takes log lines without ever waiting: bounded buffer, one write at a time, lines that find no room are counted.
import { write as writeCallback } from 'node:fs'
import { promisify } from 'node:util'

/** Where lines go. */
export type LineSink = {
  /** Takes a line without its line end. Never throws, never blocks. */
  readonly write: (line: string) => void
  /** Resolves when every line taken so far is written or lost. */
  readonly flush: () => Promise<void>
  /** Flushes and releases what lies below. */
  readonly close: () => Promise<void>
  /** Lines lost since the last call. */
  readonly takeDropped: () => { readonly lines: number; readonly why: string }
}

/** What a sink writes to. */
export type ChunkWriter = {
  readonly write: (chunk: Buffer) => Promise<void>
  readonly close: () => Promise<void>
}

/** Bounds of a sink. */
export type SinkLimits = {
  /** Characters that may wait. */
  readonly maxBuffered: number
  /** Characters written at once. */
  readonly maxChunk: number
  /** Pause after a write that failed. */
  readonly retryMs: number
}

/** 8 million waiting characters are about 20,000 lines. */
export const SINK_LIMITS: SinkLimits = { maxBuffered: 8_000_000, maxChunk: 65_536, retryMs: 1_000 }

/** Makes a sink over a writer. */
export function createLineSink(writer: ChunkWriter, limits: SinkLimits = SINK_LIMITS): LineSink {
  let lines: string[] = []
  let buffered = 0
  let scheduled = false
  let dropped = 0
  let why = ''
  let closed = false
  let draining: Promise<void> | null = null

  const lose = (count: number, reason: string): void => {
    dropped += count
    why = reason
  }
  const takeChunk = (): string[] => {
    let size = 0
    let end = 0
    while (end < lines.length && (end === 0 || size + (lines[end]?.length ?? 0) < limits.maxChunk)) {
      size += (lines[end]?.length ?? 0) + 1
      end++
    }
    const chunk = end === lines.length ? lines : lines.slice(0, end)
    lines = end === lines.length ? [] : lines.slice(end)
    buffered -= size
    return chunk
  }
  const drain = async (): Promise<void> => {
    while (lines.length > 0) {
      const chunk = takeChunk()
      try {
        await writer.write(Buffer.from(`${chunk.join('\n')}\n`))
      } catch (error) {
        lose(chunk.length, error instanceof Error ? error.message : String(error))
        if (closed) lose(takeAll(), why)
        else await pause(limits.retryMs)
      }
    }
  }
  const takeAll = (): number => {
    const count = lines.length
    lines = []
    buffered = 0
    return count
  }
  const start = (): Promise<void> => {
    draining ??= drain().finally(() => {
      draining = null
    })
    return draining
  }

  return {
    write: line => {
      if (closed || buffered + line.length > limits.maxBuffered) {
        lose(1, closed ? 'the log is closed' : 'the disk or the reader of the log does not keep up')
        return
      }
      lines.push(line)
      buffered += line.length + 1
      if (scheduled || draining !== null) return
      scheduled = true
      // All lines of one turn of the event loop become one write.
      setImmediate(() => {
        scheduled = false
        void start()
      })
    },
    flush: start,
    close: async () => {
      if (closed) return
      closed = true
      await start()
      await writer.close()
    },
    takeDropped: () => {
      const taken = { lines: dropped, why }
      dropped = 0
      return taken
    },
  }
}

const writeToDescriptor = promisify(writeCallback)

/** A writer to an open descriptor such as standard output; a full pipe is waited for. */
export function descriptorWriter(descriptor: number): ChunkWriter {
  return {
    write: async chunk => {
      for (let at = 0; at < chunk.length;) {
        try {
          const { bytesWritten } = await writeToDescriptor(descriptor, chunk, at, chunk.length - at, null)
          at += bytesWritten
        } catch (error) {
          if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) throw error
          await pause(20)
        }
      }
    },
    close: () => Promise.resolve(),
  }
}

function pause(ms: number): Promise<void> {
  return new Promise(resolve => {
    setTimeout(resolve, ms)
  })
}
