// Warnings of `check` about gateway keys: a policy may need one that nobody has added (N13).
import { join } from 'node:path'
import { ACCESS_FILE, readAccessFile } from '../access/access-file.ts'
import type { Problem } from '../config/problems.ts'
import { PortcullisError } from '../policy/error.ts'
import type { SourceLine } from '../policy/source-line.ts'
import type { Snapshot } from '../policy/snapshot.ts'

/** What the policy asks of keys and the file of keys does not have. */
export function keyWarnings(snapshot: Snapshot): readonly Problem[] {
  const connectors = [...snapshot.gateway.connectors.values()]
  if (connectors.length === 0) return []
  let known: readonly string[]
  try {
    const file = join(snapshot.directories.state, ACCESS_FILE)
    known = (readAccessFile(file)?.keys ?? []).map(key => key.name)
  } catch (cause) {
    if (!(cause instanceof PortcullisError)) throw cause
    const [first] = connectors
    return first === undefined ? [] : [problem(first.at, cause.message, cause.remedy)]
  }
  return connectors
    .filter(connector => !known.includes(connector.key))
    .map(connector =>
      problem(
        connector.at,
        known.length === 0
          ? `connector ${connector.name} cannot attach: there is no gateway key`
          : `connector ${connector.name} cannot attach: there is no gateway key ${connector.key}`,
        `add it with: portcullis keys add ${connector.key} --generate`,
      ),
    )
}

function problem({ file, line, column }: SourceLine, message: string, hint: string): Problem {
  return { file, line, column, message, hint, excerpt: null }
}
