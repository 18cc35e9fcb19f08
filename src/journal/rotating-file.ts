// Numbered log files of bounded size: NAME001 is the one being written, NAME002 the one before it, and so on.
import { mkdir, open, rename, rm, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import type { ChunkWriter } from './line-sink.ts'

/** Which files, and how large. */
export type RotatingFileOptions = {
  readonly directory: string
  /** Beginning of the name, for example `GW`. */
  readonly name: string
  /** With its dot, for example `.log`. */
  readonly extension: string
  /** Size at which a file is put aside; only a single longer line exceeds it. */
  readonly maxBytes: number
  /** Files that are kept, the one being written counted. At least 1. */
  readonly files: number
}

/** Path of file number `number` (1 is the one being written). */
export function rotatedPath(
  options: Pick<RotatingFileOptions, 'directory' | 'name' | 'extension'>,
  number: number,
): string {
  return join(options.directory, `${options.name}${String(number).padStart(3, '0')}${options.extension}`)
}

/** Makes a writer; the file is opened with the first chunk. Chunks must end with a line end. */
export function createRotatingFile(options: RotatingFileOptions): ChunkWriter {
  const count = Math.max(1, Math.min(999, options.files))
  let handle: FileHandle | null = null
  let size = 0
  /** A failed write may have left half a line. */
  let torn = false

  const openCurrent = async (): Promise<FileHandle> => {
    await mkdir(options.directory, { recursive: true })
    const opened = await open(rotatedPath(options, 1), 'a', 0o640)
    size = (await opened.stat()).size
    return opened
  }
  const closeCurrent = async (): Promise<void> => {
    const closing = handle
    handle = null
    await closing?.close()
  }
  const rotate = async (): Promise<void> => {
    await closeCurrent()
    await rm(rotatedPath(options, count), { force: true })
    for (let number = count - 1; number >= 1; number--) {
      try {
        await rename(rotatedPath(options, number), rotatedPath(options, number + 1))
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
      }
    }
    handle = await openCurrent()
  }

  return {
    write: async chunk => {
      handle ??= await openCurrent()
      if (size > 0 && size + chunk.length > options.maxBytes) await rotate()
      const current = (handle ??= await openCurrent())
      try {
        const bytes = torn ? Buffer.concat([Buffer.from('\n'), chunk]) : chunk
        await current.appendFile(bytes)
        size += bytes.length
        torn = false
      } catch (error) {
        torn = true
        // A file that was removed or a disk that was replaced is found again by opening anew.
        await closeCurrent().catch(() => undefined)
        throw error
      }
    },
    close: closeCurrent,
  }
}
