// portcullis setup: asks what a first policy needs, probes the server, and writes the file with comments once it is valid.
import { randomBytes } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { parse, stringify } from 'yaml'
import { POLICY_FILE, loadPolicy } from '../../config/load.ts'
import { formatProblem, renderProblem, type Problem } from '../../config/problems.ts'
import { yamlFiles } from '../../config/files.ts'
import { suggest } from '../../config/spelling.ts'
import { openAsker, type Asker } from '../ask.ts'
import { usageError, type Command, type CommandArguments, type CommandContext } from '../command.ts'
import { formatDay } from '../format.ts'
import { policyDirectory, shownDirectory } from '../gate-access.ts'
import { addressesOf, reachOf } from '../reach.ts'
import { setupPolicy } from '../setup-policy.ts'
import {
  SETUP_QUESTIONS,
  type SetupAnswers,
  type SetupFacts,
  type SetupQuestion,
} from '../setup-questions.ts'
import { bullet, safeText } from '../shown-text.ts'
import type { Terminal } from '../terminal.ts'

const CANDIDATE = 'portcullis.setup.yaml'
const MAX_ANSWERS_BYTES = 65_536
const MAX_TRIES = 20

export const setupCommand: Command = {
  name: 'setup',
  usage: 'setup [--answers file.yaml] [--yes]',
  summary: 'Ask what a first policy needs, and write it with comments',
  examples: [
    'portcullis setup',
    'portcullis setup --policy candidate',
    'portcullis setup --answers answers.yaml --yes --json',
    'portcullis setup --questions',
  ],
  options: {
    answers: {
      type: 'string',
      value: '<file>',
      help: 'answers as YAML (question: answer); what is left out takes its default, and nothing is asked',
    },
    yes: {
      type: 'boolean',
      short: 'y',
      help: 'replace a policy that is there (a copy is kept) without asking',
    },
    'no-probe': { type: 'boolean', help: 'do not try whether the server answers' },
    questions: { type: 'boolean', help: 'list the questions with their reasons, and do nothing' },
  },
  run: async (args, context) => {
    const directory = policyDirectory(args, context)
    const facts = factsOf(directory, context)
    if (args.flag('questions')) return listQuestions(facts, args, context)
    if (facts.profiles.length === 0)
      throw usageError(
        `there are no profiles in ${join(directory, 'profiles')}`,
        'Copy policies/ of the checkout there first: cp -r policies candidate',
      )
    const file = args.text('answers')
    if (file !== undefined) {
      const answers = fromFile(resolve(context.cwd, file), facts)
      return finish(answers, directory, null, args, context)
    }
    if (args.flag('json'))
      throw usageError('--json asks nothing', 'Give the answers in a file: --answers answers.yaml')
    if (context.input === undefined || context.output === undefined)
      throw usageError('there is nobody to ask', 'Use --answers <file>.')
    const asker = openAsker({
      input: context.input,
      output: context.output,
      isTerminal: context.isTerminal && Reflect.get(context.input, 'isTTY') === true,
    })
    try {
      const answers = await askAll(asker, facts, args, context.terminal)
      return await finish(answers, directory, asker, args, context)
    } finally {
      asker.close()
    }
  },
}

function factsOf(directory: string, context: CommandContext): SetupFacts {
  const profiles = yamlFiles(join(directory, 'profiles')).map(name => name.replace(/\.ya?ml$/, ''))
  const language = context.env['LC_ALL'] ?? context.env['LANG'] ?? ''
  const country = /^[a-z]{2,3}_([A-Z]{2})\b/.exec(language)?.[1] ?? null
  return { profiles, country, randomName: randomBytes(8).toString('hex') }
}

function listQuestions(facts: SetupFacts, args: CommandArguments, { terminal }: CommandContext): number {
  const list = SETUP_QUESTIONS.map(({ id, ask, why, fallback }) => ({
    id,
    ask,
    why,
    default: fallback({}, facts),
  }))
  if (args.flag('json')) terminal.json({ questions: list })
  else
    for (const { id, ask, why, default: usual } of list)
      terminal.print(
        `${terminal.tone('strong', id)}  ${ask}`,
        terminal.wrap(why, '    '),
        `    default: ${usual}`,
      )
  return 0
}

async function askAll(
  asker: Asker,
  facts: SetupFacts,
  args: CommandArguments,
  terminal: Terminal,
): Promise<SetupAnswers> {
  asker.say(
    'A first policy, in a few questions. Enter takes the [answer]; ? says why it is asked; < goes back one question.',
  )
  let answers: SetupAnswers = {}
  const asked: string[] = []
  for (let index = 0; index < SETUP_QUESTIONS.length;) {
    const question = SETUP_QUESTIONS[index]
    if (question === undefined) break
    if (question.applies?.(answers) === false) {
      index++
      continue
    }
    const value = await askOne(asker, question, answers, facts, terminal)
    if (value === null) {
      const before = asked.pop()
      if (before === undefined) asker.say('  This is the first question.')
      else index = SETUP_QUESTIONS.findIndex(entry => entry.id === before)
      continue
    }
    answers = { ...answers, [question.id]: value }
    asked.push(question.id)
    if (question.id === 'upstream' && !args.flag('no-probe')) asker.say(`  ${await probeWords(value)}`)
    index++
  }
  // Going back may have left answers of questions that no longer apply.
  return onlyApplying(answers)
}

function onlyApplying(answers: SetupAnswers): SetupAnswers {
  return Object.fromEntries(
    SETUP_QUESTIONS.filter(({ id, applies }) => id in answers && applies?.(answers) !== false).map(
      ({ id }) => [id, answers[id] ?? ''],
    ),
  )
}

/** The answer; null: back. */
async function askOne(
  asker: Asker,
  question: SetupQuestion,
  answers: SetupAnswers,
  facts: SetupFacts,
  terminal: Terminal,
): Promise<string | null> {
  const usual = answers[question.id] ?? question.fallback(answers, facts)
  asker.say('')
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const typed = (await asker.line(`${question.ask} [${usual}] `)).trim()
    if (typed === '?') {
      asker.say(terminal.wrap(question.why, '  '))
      continue
    }
    if (typed === '<') return null
    const checked = question.check(typed === '' ? usual : typed, facts)
    if ('value' in checked) return checked.value
    asker.say(`  ${safeText(checked.problem)}`)
  }
  throw usageError(
    `no usable answer to "${question.ask}" in ${MAX_TRIES} tries`,
    'See portcullis setup --questions.',
  )
}

/** What the server says, in a sentence. The answer is kept either way: it may not be up yet. */
async function probeWords(upstream: string): Promise<string> {
  const url = new URL(upstream)
  const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80))
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const [address] = await addressesOf(host)
  if (address === undefined) return `${host} does not resolve from here; the gate will try again.`
  const any = {
    path: '/',
    statuses: new Set(Array.from({ length: 500 }, (_, index) => index + 100)),
    bodyPattern: null,
  }
  const { reach, saw } = await reachOf(host, address, port, any)
  return reach === 'answers'
    ? `✓ A web server answers at ${address} port ${port}.`
    : `${address} port ${port}: ${saw}. Check it before agents come.`
}

function fromFile(file: string, facts: SetupFacts): SetupAnswers {
  let written: unknown
  try {
    if (statSync(file).size > MAX_ANSWERS_BYTES)
      throw new Error(`it has more than ${MAX_ANSWERS_BYTES} bytes`)
    written = parse(readFileSync(file, 'utf8'), { maxAliasCount: 0, uniqueKeys: true })
  } catch (cause) {
    throw usageError(
      `${file} cannot be read: ${(cause as Error).message.split('\n')[0] ?? ''}`,
      'It is YAML: one "question: answer" per line.',
    )
  }
  if (typeof written !== 'object' || written === null || Array.isArray(written))
    throw usageError(`${file} has no answers`, 'It is YAML: one "question: answer" per line.')
  const given = new Map(Object.entries(written).map(([key, value]) => [key, asText(value)]))
  const ids = SETUP_QUESTIONS.map(({ id }) => id)
  for (const [key, value] of given) {
    const near = suggest(key, ids)
    if (!ids.includes(key))
      throw usageError(
        `${file}: there is no question "${safeText(key)}"`,
        near === undefined ? `Questions: ${ids.join(', ')}.` : `Did you mean ${near}?`,
      )
    if (value === null)
      throw usageError(`${file}: the answer to ${key} is no text`, 'Write it in quotation marks.')
  }
  let answers: SetupAnswers = {}
  for (const question of SETUP_QUESTIONS) {
    if (question.applies?.(answers) === false) {
      if (given.has(question.id))
        throw usageError(`${file}: ${question.id} is not asked with these answers`, 'Remove the line.')
      continue
    }
    const text = given.get(question.id) ?? question.fallback(answers, facts)
    const checked = question.check(text.trim(), facts)
    if ('problem' in checked)
      throw usageError(`${file}: ${question.id}: "${safeText(text)}": ${checked.problem}`, question.why)
    answers = { ...answers, [question.id]: checked.value }
  }
  return answers
}

function asText(value: unknown): string | null {
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  if (typeof value === 'string' || typeof value === 'number') return String(value)
  if (value === null) return 'none'
  return Array.isArray(value) && value.every(item => typeof item === 'string') ? value.join(', ') : null
}

async function finish(
  answers: SetupAnswers,
  directory: string,
  asker: Asker | null,
  args: CommandArguments,
  context: CommandContext,
): Promise<number> {
  const { terminal } = context
  const target = join(directory, POLICY_FILE)
  const text = setupPolicy(answers, formatDay(context.nowMs()))
  const { problems, warnings } = validated(text, directory, context)
  if (problems.length > 0) {
    if (args.flag('json')) terminal.json({ written: null, problems, answers })
    else
      terminal.print(
        ...problems.map(renderProblem),
        terminal.tone('bad', '✗ These answers make no valid policy; nothing was written.'),
        '',
        'Your answers, to be corrected and given again with --answers <file>:',
        stringify(answers).trimEnd(),
      )
    return 1
  }
  let backup: string | null = null
  if (existsSync(target)) {
    if (!(await mayReplace(target, asker, args, context))) {
      terminal.print('Nothing was written.')
      return 1
    }
    backup = `${target}.${new Date(context.nowMs()).toISOString().replaceAll(/[-:]|\.\d+/g, '')}.bak`
    copyFileSync(target, backup)
  }
  mkdirSync(directory, { recursive: true })
  writeFileSync(`${target}.new`, text, { mode: 0o644 })
  renameSync(`${target}.new`, target)
  if (args.flag('json')) {
    terminal.json({ written: target, backup, warnings: warnings.map(formatProblem), answers })
    return 0
  }
  terminal.print('', `${terminal.tone('good', '✓')} Written: ${shownDirectory(target, context.cwd)}`)
  if (backup !== null) terminal.print(`  The policy that was there: ${shownDirectory(backup, context.cwd)}`)
  for (const warning of warnings) terminal.print(terminal.tone('warn', `  ${formatProblem(warning)}`))
  showNext(answers, args, terminal)
  return 0
}

/** Loads the policy as it would be, beside the one that is there: the file in force is not touched before it is right. */
function validated(
  text: string,
  directory: string,
  context: CommandContext,
): { readonly problems: readonly Problem[]; readonly warnings: readonly Problem[] } {
  const file = join(directory, CANDIDATE)
  writeFileSync(file, text)
  try {
    const result = loadPolicy({ directory, file: CANDIDATE, nowMs: context.nowMs() })
    return result.ok
      ? { problems: [], warnings: result.warnings }
      : { problems: result.problems, warnings: [] }
  } finally {
    rmSync(file, { force: true })
  }
}

async function mayReplace(
  target: string,
  asker: Asker | null,
  args: CommandArguments,
  context: CommandContext,
): Promise<boolean> {
  if (args.flag('yes')) return true
  const shown = shownDirectory(target, context.cwd)
  if (asker === null)
    throw usageError(
      `${shown} is there already`,
      'Repeat with --yes (a copy is kept), or write elsewhere: --policy candidate',
    )
  asker.say(
    `\n${shown} is there already. A gate that runs with it takes the new one up at once; a copy of the old one is kept.`,
  )
  return /^y(?:es)?$/i.test((await asker.line('Replace it? [no] ')).trim())
}

function showNext(answers: SetupAnswers, args: CommandArguments, terminal: Terminal): void {
  const policy = args.text('policy')
  const option = policy === undefined ? '' : ` --policy ${policy}`
  const name = answers['name'] ?? ''
  const steps = [
    ...(answers['certificate'] === 'file' ? [`Put the certificate into certs/${name}.crt and .key.`] : []),
    `Point ${name} at the gate in DNS.`,
    ...(answers['acl'] === 'yes'
      ? ["Admit the gate's address in the restrictions of the RMM server, before agents come."]
      : []),
    `bin/portcullis check${option}, then bin/portcullis firewall-plan${option} and bin/portcullis run${option}`,
    `bin/portcullis template${option} says what a new template needs. Begin with a few test machines.`,
    `bin/portcullis trial report${option} after a few days, then bin/portcullis cutover${option}`,
  ]
  terminal.print('', 'Next:', ...steps.map(step => bullet(step, terminal)))
}
