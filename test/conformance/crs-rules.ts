// Reads a checkout of the Core Rule Set from disk and compiles it as the gate would.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { detectSqli } from '../../src/ips/injection/sqli.ts'
import { detectXss } from '../../src/ips/injection/xss.ts'
import { compilePattern } from '../../src/ips/regex/compile.ts'
import { compileSecLang, type SecCompiled } from '../../src/ips/seclang/compile.ts'
import { entriesOf } from '../../src/ips/seclang/entries.ts'

/** The files of a checkout that rules are made of. */
export function readCrsFiles(folder: string): Map<string, string> {
  const files = new Map<string, string>()
  for (const name of ['crs-setup.conf', 'crs-setup.conf.example']) {
    const path = join(folder, name)
    if (existsSync(path)) files.set(name, readFileSync(path, 'latin1'))
  }
  for (const name of readdirSync(join(folder, 'rules'))) {
    if (/\.(?:conf|data)$/.test(name))
      files.set(`rules/${name}`, readFileSync(join(folder, 'rules', name), 'latin1'))
  }
  return files
}

/** Settings that the official tests ask for (tests/regression/README.md of the rule set). */
export const TEST_SETTINGS = [
  'blocking_paranoia_level=4',
  'detection_paranoia_level=4',
  'paranoia_level=4',
  'executing_paranoia_level=4',
  'crs_validate_utf8_encoding=1',
  'arg_name_length=100',
  'arg_length=400',
  'total_arg_length=64000',
  'max_num_args=255',
  'max_file_size=64100',
  'combined_file_sizes=65535',
  'inbound_anomaly_score_threshold=5',
  'outbound_anomaly_score_threshold=4',
]

/** Compiles a checkout for its tests. */
export function compileForTests(folder: string, withInjection: boolean): SecCompiled {
  const files = readCrsFiles(folder)
  const settings = TEST_SETTINGS.map(setting => `setvar:tx.${setting}`).join(',')
  files.set('(settings of the tests)', `SecAction "id:1,phase:1,nolog,pass,${settings}"`)
  const { setup, rules } = entriesOf(files)
  return compileSecLang(files, [...setup, '(settings of the tests)', ...rules], {
    name: 'crs',
    compilePattern,
    detectSqli: withInjection ? detectSqli : () => null,
    detectXss: withInjection ? detectXss : () => false,
  })
}
