// portcullis geo: which country databases are used, what they say of an address, what is wrong with others; and the safe import.
import { mkdirSync } from 'node:fs'
import { resolve } from 'node:path'
import type { DatabaseStatus, GateStatus } from '../../admin/status.ts'
import { bundledDatabases } from '../../geo/bundled.ts'
import { importDatabase } from '../../geo/import.ts'
import { createCountryLookup } from '../../geo/lookup.ts'
import type { EventFields, Reporter } from '../../journal/events.ts'
import type { GeoFacts } from '../../policy/facts.ts'
import type { Snapshot } from '../../policy/snapshot.ts'
import { usageError, type Command, type CommandArguments, type CommandContext } from '../command.ts'
import { databaseAge, databaseName } from '../databases.ts'
import { askGate, requirePolicy } from '../gate-access.ts'
import { requireAddress } from '../question.ts'

/** Age from which the gate warns, too (`geo.stale`). */
const OLD_MS = 45 * 86_400_000

export const geoCommand: Command = {
  name: 'geo',
  usage: 'geo [<ip>] | geo import <file> [--as first]',
  summary: 'Country databases in use; import another one safely',
  examples: [
    'portcullis geo',
    'portcullis geo 198.51.100.7',
    'portcullis geo import GeoLite2-Country.mmdb',
    'portcullis geo import dbip-country-lite.mmdb.gz --as second',
  ],
  options: {
    as: {
      type: 'string',
      value: '<first or second>',
      help: 'with import: use it in this role, whatever its maker or age',
    },
  },
  run: (args, context) => {
    if (args.positionals[0] === 'import') return importFile(args, context)
    if (args.text('as') !== undefined)
      throw usageError('--as belongs to an import', 'For example: portcullis geo import <file> --as first')
    if (args.positionals.length > 1)
      throw usageError('geo takes one address', 'For example: portcullis geo 198.51.100.7')
    return show(args, context)
  },
}

/** What the files in the directory come to, and what the look at them reported. */
async function look(
  snapshot: Snapshot,
  address: string | undefined,
  context: CommandContext,
): Promise<{
  readonly databases: readonly DatabaseStatus[]
  readonly problems: readonly EventFields['geo.rejected'][]
  readonly answer: GeoFacts | null
}> {
  const problems: EventFields['geo.rejected'][] = []
  const reporter: Reporter = {
    report: (name, fields) => {
      if (name === 'geo.rejected') problems.push(fields as EventFields['geo.rejected'])
    },
  }
  const countries = await createCountryLookup({
    directory: snapshot.directories.geoip,
    bundled: bundledDatabases(),
    reporter,
    clock: context.nowMs,
  })
  try {
    const answer = address === undefined ? null : countries.lookup(requireAddress(address, 'geo'))
    return { databases: countries.databases(), problems, answer }
  } finally {
    countries.close()
  }
}

async function show(args: CommandArguments, context: CommandContext): Promise<number> {
  const { terminal } = context
  const [address] = args.positionals
  if (address !== undefined) requireAddress(address, 'geo')
  const { snapshot } = requirePolicy(args, context)
  const status = (await askGate(snapshot, 'GET', '/v1/status')) as GateStatus | undefined
  const looked = await look(snapshot, address, context)
  const databases = status?.databases ?? looked.databases
  const code = databases.length === 0 || looked.problems.length > 0 ? 1 : 0
  const { answer } = looked
  const answerOf = ({ role }: DatabaseStatus): string | null =>
    answer === null ? null : role === 'first' ? answer.country : answer.second
  if (args.flag('json')) {
    terminal.json({
      gateRunning: status !== undefined,
      directory: snapshot.directories.geoip,
      databases: databases.map(({ role, type, file, builtMs }) => ({ role, type, file, builtMs })),
      problems: looked.problems,
      ...(answer === null
        ? {}
        : { address, scope: answer.scope, first: answer.country, second: answer.second }),
    })
    return code
  }
  const nowMs = context.nowMs()
  if (databases.length === 0)
    terminal.print(terminal.tone('bad', '✗ No country database is loaded: public addresses have no country.'))
  terminal.print(
    terminal.table(
      databases.map(database => {
        const isOld = nowMs - database.builtMs > OLD_MS
        return [
          database.role === 'first' ? 'first, decides' : 'second opinion',
          terminal.tone('strong', databaseName(database)),
          ...(address === undefined ? [] : [answerOf(database) ?? 'no answer']),
          `${terminal.tone(isOld ? 'warn' : 'good', databaseAge(database, nowMs))}, ${database.file}`,
        ]
      }),
    ),
  )
  if (answer !== null && answer.scope !== 'public')
    terminal.print('', `${address ?? ''} is a ${answer.scope} address: no database is asked, geo.* decides.`)
  else if (
    answer !== null &&
    answer.country !== null &&
    answer.second !== null &&
    answer.country !== answer.second
  )
    terminal.print('', terminal.tone('warn', 'The databases disagree: the first one decides.'))
  for (const { file, problem } of looked.problems) {
    terminal.print(
      '',
      terminal.wrap(`${terminal.tone('bad', '✗')} ${file} is not used: ${problem}`, '', '  '),
    )
  }
  if (databases.some(database => nowMs - database.builtMs > OLD_MS)) {
    terminal.print(
      '',
      terminal.wrap(
        'Older than 45 days: addresses move between countries. Renew with: bin/portcullis geo import <file>',
      ),
    )
  }
  return code
}

async function importFile(args: CommandArguments, context: CommandContext): Promise<number> {
  const { terminal } = context
  const file = args.positionals[1]
  if (file === undefined || args.positionals.length > 2)
    throw usageError('geo import takes one file', 'For example: portcullis geo import GeoLite2-Country.mmdb')
  const as = args.text('as')
  if (as !== undefined && as !== 'first' && as !== 'second')
    throw usageError(`"${as}" is not a role`, 'Write --as first or --as second.')
  const { snapshot } = requirePolicy(args, context)
  mkdirSync(snapshot.directories.geoip, { recursive: true })
  const imported = await importDatabase(resolve(context.cwd, file), {
    directory: snapshot.directories.geoip,
    nowMs: context.nowMs(),
    ...(as === undefined ? {} : { as }),
  })
  const { databases } = await look(snapshot, undefined, context)
  const used = databases.find(database => database.file === imported.file)
  if (args.flag('json')) {
    terminal.json({
      file: imported.file,
      type: imported.type,
      builtMs: imported.builtMs,
      role: used?.role ?? null,
    })
    return 0
  }
  terminal.print(
    `${terminal.tone('good', '✓')} ${databaseName(imported)}, ${databaseAge(imported, context.nowMs())}, is now ${imported.file}.`,
    used === undefined
      ? terminal.tone(
          'warn',
          '  Another database comes first by the order in geoip/README.md; use --as first.',
        )
      : `  It is the ${used.role === 'first' ? 'first database, which decides' : 'second opinion'}; a running gate takes it up within seconds.`,
  )
  return 0
}
