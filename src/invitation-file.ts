// The file of forwards for invitations in the state directory: strict reading, and writing that is whole or not at all.
import { readFileSync, statSync } from 'node:fs'
import { z } from 'zod'
import { writeWholeFile } from './access/whole-file.ts'
import { NO_FORWARDS, type SavedForwards } from './policy/forward-table.ts'

/** Name of the file in the state directory. */
export const INVITATION_FILE = 'invitations.json'

const MAX_FILE_BYTES = 1024 * 1024
/** More than any policy can ask for. */
const MAX_FORWARDS = 1_000
const MAX_SOURCES = 50

const port = z.number().int().min(1).max(65_535)
const time = z.number().int().nonnegative().max(8.64e15)
const word = z.string().min(1).max(128)
const schema = z.strictObject({
  version: z.literal(1),
  lastPort: z.number().int().min(0).max(65_535),
  ended: z.array(z.strictObject({ port, atMs: time })).max(MAX_FORWARDS),
  forwards: z
    .array(
      z.strictObject({
        port,
        target: z.strictObject({ host: word, port }),
        from: z
          .strictObject({
            sites: z.array(word).max(MAX_SOURCES),
            ranges: z.array(word).max(MAX_SOURCES),
          })
          .nullable(),
        owner: z.string().min(1).max(300),
        openedMs: time,
        expiresMs: time,
      }),
    )
    .max(MAX_FORWARDS)
    .refine(list => new Set(list.map(forward => forward.port)).size === list.length, 'a port stands twice'),
})

/**
 * Reads the file; without one, nothing was open.
 * @throws Error with a sentence, when it is not exactly what this version writes
 */
export function readInvitationFile(file: string): SavedForwards {
  let text: string
  try {
    if (statSync(file).size > MAX_FILE_BYTES) throw new Error('it is too large')
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return NO_FORWARDS
    throw cause
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new Error('it is not JSON', { cause })
  }
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issue = result.error.issues[0]
  throw new Error(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not valid'}`.replace(/^: /, ''))
}

/** Writes the file, readable by its owner alone: all of it, or nothing. @throws the error of the disk */
export function writeInvitationFile(file: string, saved: SavedForwards): void {
  writeWholeFile(
    file,
    `${JSON.stringify({ version: 1, ...saved }, null, 2)}
`,
  )
}
