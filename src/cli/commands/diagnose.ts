// portcullis diagnose: why an address, a site, a device or one refused request did not get through, and what fixes it.
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { usageError, type Command, type CommandArguments, type CommandContext } from '../command.ts'
import { diagnoseAll, listJson, showList } from '../diagnosis-list.ts'
import { diagnoseReference } from '../diagnosis-reference.ts'
import { diagnosisJson, showDiagnosis } from '../diagnosis-report.ts'
import { ticketOf } from '../diagnosis-ticket.ts'
import { diagnose } from '../../diagnose/diagnosis.ts'
import { openSurroundings, type Surroundings } from '../evidence.ts'
import { parseAddress } from '../../net/address.ts'
import { requirePolicy } from '../gate-access.ts'
import { watchLive } from '../live.ts'
import { probe, PROBE_OPTIONS } from '../probe.ts'
import { MAX_TARGETS, readSubject, type Subject, type Target } from '../subjects.ts'

export const diagnoseCommand: Command = {
  name: 'diagnose',
  usage: 'diagnose <address | site | reference | device> ...',
  summary: 'Why an address, a site, a device or a refused request did not get through, and what fixes it',
  examples: [
    'bin/diagnose 198.51.100.7',
    'bin/diagnose P7F3-K9QX-M2',
    'bin/diagnose acme                       every address of a site',
    'bin/diagnose 198.51.100.7#t10d0907      one device behind an address',
    'bin/diagnose --file addresses.txt --json',
    'bin/diagnose 198.51.100.7 --ticket      a block for the ticket',
    'bin/diagnose 198.51.100.7 --live        watch while somebody there tries again',
    'bin/diagnose --probe https://rmm.example.com     from a machine at the site; needs no policy',
  ],
  options: {
    file: {
      type: 'string',
      short: 'f',
      value: '<file>',
      help: 'addresses, sites or devices to look at, one per line; # begins a comment',
    },
    ticket: { type: 'boolean', short: 't', help: 'print Markdown for a ticket, without secrets' },
    live: {
      type: 'boolean',
      short: 'l',
      help: 'watch while the client tries again, and say what comes; Ctrl-C ends with the verdict',
    },
    for: { type: 'string', value: '<time>', help: 'with --live: how long (default: 15m)' },
    ...PROBE_OPTIONS,
  },
  run: async (args, context) => {
    if (args.flag('probe')) return probe(args, context)
    const words = wordsOf(args, context)
    const { snapshot } = requirePolicy(args, context)
    const surroundings = await openSurroundings(snapshot, args, context)
    try {
      const isLive = args.flag('live')
      const subjects = words.map(word =>
        readSubject(word, snapshot, surroundings.store, surroundings.nowMs, isLive),
      )
      if (isLive) {
        const targets = distinct(subjects.flatMap(subject => targetsOf(subject, surroundings)))
        const ranges = subjects.flatMap(subject => (subject.kind === 'targets' ? subject.ranges : []))
        const what = subjects.map(subject => (subject.kind === 'targets' ? subject.what : subject.word))
        return await watchLive({ what, targets, ranges }, snapshot, args, context)
      }
      return report(subjects, surroundings, args, context)
    } finally {
      surroundings.close()
    }
  },
}

const MAX_FILE_BYTES = 1_048_576

function wordsOf(args: CommandArguments, context: CommandContext): readonly string[] {
  const file = args.text('file')
  const words = [...args.positionals, ...(file === undefined ? [] : linesOf(resolve(context.cwd, file)))]
  if (words.length === 0) {
    throw usageError(
      'diagnose needs an address, a site, a reference or a device',
      'For example: bin/diagnose 198.51.100.7',
    )
  }
  if (words.length > MAX_TARGETS)
    throw usageError(
      `diagnose looks at ${MAX_TARGETS} at once`,
      `${words.length} were given: split the list.`,
    )
  return [...new Set(words)]
}

function linesOf(path: string): readonly string[] {
  let text
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    throw usageError(
      `the list ${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`,
      'Name a text file with one address, site or device per line.',
    )
  }
  if (text.length > MAX_FILE_BYTES) throw usageError(`the list ${path} is too long`, 'Split it.')
  return text
    .split(/\r?\n/)
    .map(line => line.replace(/(?:^|\s)#.*$/, '').trim())
    .filter(line => line !== '')
}

function report(
  subjects: readonly Subject[],
  surroundings: Surroundings,
  args: CommandArguments,
  context: CommandContext,
): number {
  const { terminal } = context
  const [first] = subjects
  if (first?.kind === 'reference' && subjects.length === 1 && !args.flag('ticket'))
    return diagnoseReference(first.reference, surroundings, args, context)
  const targets = distinct(subjects.flatMap(subject => targetsOf(subject, surroundings)))
  const gathered = targets.map(({ address, device }) => surroundings.about(address, device))
  const [only] = gathered
  if (args.flag('ticket')) {
    terminal.print(gathered.map(ticketOf).join('\n\n---\n\n'))
    return gathered.every(entry => diagnose(entry.evidence).healthy) ? 0 : 1
  }
  const what = subjects
    .map(subject => (subject.kind === 'targets' ? subject.what : subject.word))
    .slice(0, 4)
    .join(', ')
  const isOne = gathered.length === 1 && only !== undefined && subjects.length === 1
  const all = diagnoseAll(gathered)
  const truncated = subjects.some(subject => subject.kind === 'targets' && subject.truncated)
  if (args.flag('json')) {
    terminal.json(isOne ? diagnosisJson(only) : listJson(what, all, truncated))
    return all.every(entry => entry.diagnosis.healthy) ? 0 : 1
  }
  if (isOne) return showDiagnosis(only, context)
  return showList(subjects.length > 4 ? `${what}, ...` : what, all, truncated, context)
}

function targetsOf(subject: Subject, { store }: Surroundings): readonly Target[] {
  if (subject.kind === 'targets') return subject.targets
  const found = store?.events.byReference(subject.reference)[0]?.address ?? null
  if (found === null)
    throw usageError(`nothing is recorded under ${subject.reference}`, 'Ask for the public address instead.')
  return readAddress(found)
}

function readAddress(text: string): readonly Target[] {
  const subject = parseAddress(text)
  return subject === undefined ? [] : [{ address: subject, device: null }]
}

function distinct(targets: readonly Target[]): readonly Target[] {
  return [
    ...new Map(targets.map(target => [`${target.address.text}#${target.device ?? ''}`, target])).values(),
  ]
}
