// Keys, operators and what they reach, put together.
import { join } from 'node:path'
import type { Access } from './access/access.ts'
import { ACCESS_FILE } from './access/access-file.ts'
import { createAccess } from './access/create-access.ts'
import type { Reporter } from './journal/events.ts'

/** Opens the keys and operators of a state directory. */
export function openAccess(stateDir: string, clock: () => number, reporter: Reporter): Access {
  return createAccess({
    file: join(stateDir, ACCESS_FILE),
    clock,
    reporter: { report: (name, fields) => reporter.report(name, fields) },
  })
}
