// Portcullis with the Core Rule Set that nginx + ModSecurity gets, imported and enforced, in place of its own rule packs.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Peer } from './peer.ts'
import { portcullis } from './portcullis.ts'

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
/** Where Debian's package puts it; nginx + ModSecurity reads the same files. */
const RULE_SET = '/usr/share/modsecurity-crs'

export const portcullisCrs: Peer = {
  id: 'portcullis+crs',
  work: 'the same with the Core Rule Set at paranoia level 1 imported and enforced in place of the own rule packs; rules whose patterns are no RE2 are left out (`rules import` names them)',
  refuses: { foreignCountry: true, attack: true },
  rulesOnly: true,
  version: () => {
    const own = portcullis.version()
    return own !== undefined && existsSync(RULE_SET) ? `${own} + modsecurity-crs` : undefined
  },
  prepare: async stage => {
    const launch = await portcullis.prepare(stage)
    const policies = join(stage.dir, 'policies')
    const run = (...words: readonly string[]): string =>
      execFileSync(
        process.execPath,
        [
          '--disable-warning=ExperimentalWarning',
          MAIN,
          'rules',
          'import',
          RULE_SET,
          '--policy',
          policies,
          ...words,
        ],
        { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] },
      )
    run('--sha256', digest(run))
    const file = join(policies, 'portcullis.yaml')
    const rules = 'rules: { packs: [], imported: { crs: { paranoia: 1, threshold: 5, mode: enforce } } }\n'
    // Portcullis with its own rules runs beside it and has the usual admin address.
    const admin = `admin: { address: '127.0.0.1:${stage.port + 500}' }\n`
    writeFileSync(file, readFileSync(file, 'utf8') + rules + admin)
    return launch
  },
}

/** The digest that the import asks for: it says so when none is given. */
function digest(run: (...words: readonly string[]) => string): string {
  try {
    run()
  } catch (error) {
    const said = String((error as { readonly stderr?: unknown }).stderr)
    const found = /\b[0-9a-f]{64}\b/.exec(said)
    if (found !== null) return found[0]
  }
  throw new Error('the import did not say which digest it expects')
}
