// portcullis template: what agents must be told, per product, and a check of the exact string before it reaches a fleet.
import { findName } from '../../policy/decide-hello.ts'
import {
  checkServerString,
  type CheckedString,
  type ExpectedHosts,
  type StringProblem,
} from '../../deploy/server-string.ts'
import {
  NEW_TEMPLATE_FIRST,
  PRODUCT_TEMPLATES,
  type ProductTemplate,
  type Template,
} from '../../deploy/templates.ts'
import { suggest } from '../../config/spelling.ts'
import { PortcullisError } from '../../policy/error.ts'
import type { Snapshot } from '../../policy/snapshot.ts'
import { usageError, type Command, type CommandArguments, type CommandContext } from '../command.ts'
import { requirePolicy } from '../gate-access.ts'
import { bullet, safeText, shownText } from '../shown-text.ts'
import type { Terminal } from '../terminal.ts'

export const templateCommand: Command = {
  name: 'template',
  usage: "template [<product>] [--direct <host>] | template check '<string>'",
  summary: 'What agents must be told so that they use the gate, and a check of that string',
  examples: [
    'portcullis template --direct direct.example.com',
    'portcullis template netsupport --gate gate.example.com --direct direct.example.com',
    "portcullis template check 'https://gate.example.com|https://direct.example.com'",
  ],
  options: {
    gate: {
      type: 'string',
      value: '<host>',
      help: "the gate's public name (default: the first name of the policy)",
    },
    direct: {
      type: 'string',
      value: '<host>',
      help: 'the old, direct address of the server (default: deployment.direct of the policy)',
    },
    product: {
      type: 'string',
      value: '<product>',
      help: 'for check: the product (default: the profile of the policy)',
    },
    list: { type: 'boolean', help: 'list the products' },
  },
  run: (args, context) => {
    if (args.flag('list')) return Promise.resolve(list(args, context))
    const [first, ...rest] = args.positionals
    if (first === 'check') return Promise.resolve(check(rest, args, context))
    if (rest.length > 0) throw usageError('template takes one product', 'See portcullis template --help.')
    return Promise.resolve(print(first, args, context))
  },
}

function list(args: CommandArguments, { terminal }: CommandContext): number {
  const products = PRODUCT_TEMPLATES.map(({ id, product, hasSecondary }) => ({ id, product, hasSecondary }))
  if (args.flag('json')) terminal.json({ products })
  else {
    const rows = products.map(entry => [
      terminal.tone('strong', entry.id),
      entry.product,
      entry.hasSecondary ? 'agents keep a secondary address' : 'one address only',
    ])
    terminal.print(terminal.table(rows))
  }
  return 0
}

function print(word: string | undefined, args: CommandArguments, context: CommandContext): number {
  const { terminal } = context
  const policy = policyIfAny(args, context)
  const product = productOf(word ?? args.text('product'), policy)
  const gate = args.text('gate') ?? gateNameOf(policy)
  const direct = args.text('direct') ?? policy?.deployment.direct?.host ?? null
  if (product.hasSecondary && direct === null) {
    throw usageError(
      'the old, direct address of the server is not known: agents need it as their secondary',
      'Add --direct <host>, or state it in the policy: deployment: { direct: direct.example.com }',
    )
  }
  for (const [option, host] of [
    ['--gate', gate],
    ['--direct', direct],
  ] as const) {
    const checked = host === null ? null : checkServerString(host, HOST_ONLY)
    if (checked !== null && !checked.ok) throw malformed(host ?? '', checked.problem, option)
  }
  if (product.hasSecondary && gate === direct) {
    throw usageError('gate and direct address are the same host', 'The secondary must lead around the gate.')
  }
  const egress = policy?.deployment.egress[0]?.text ?? null
  const template = product.template({ gate, direct, egress })
  if (args.flag('json')) {
    const { id } = product
    const settings = template.settings.map(({ where, value }) => ({ where, value }))
    terminal.json({ product: id, gate, direct, ...template, settings, rule: NEW_TEMPLATE_FIRST })
  } else show(product, template, terminal)
  return 0
}

const HOST_ONLY = { scheme: null, port: 'none', path: '', separator: null, entries: 1 } as const

function show(product: ProductTemplate, template: Template, terminal: Terminal): void {
  terminal.print(terminal.tone('strong', product.product), '')
  for (const { where, value } of template.settings)
    terminal.print(`${where}:`, '', `    ${terminal.tone('accent', value)}`, '')
  for (const { file, lines } of template.files)
    terminal.print(`${file}:`, '', ...lines.map(line => `    ${line}`), '')
  for (const sentence of [NEW_TEMPLATE_FIRST, template.restart, ...template.notes])
    terminal.print(bullet(sentence, terminal))
  const [setting] = template.settings
  if (setting === undefined) return
  const command = `portcullis template check '${setting.value}' --product ${product.id}`
  terminal.print('', 'Check what you have pasted, character by character:', `    ${command}`)
}

function check(words: readonly string[], args: CommandArguments, context: CommandContext): number {
  const [text] = words
  if (text === undefined || words.length > 1) {
    throw usageError(
      words.length > 1
        ? `the string came in ${words.length} pieces: it has spaces or the shell has taken it apart`
        : 'check needs the string',
      "Put it in single quotes: portcullis template check 'https://gate.example.com|https://direct.example.com'",
    )
  }
  const policy = policyIfAny(args, context)
  const product = productOf(args.text('product'), policy)
  const checked = checkServerString(text, product.grammar, expected(args.text('gate'), policy, product))
  const { terminal } = context
  if (args.flag('json')) {
    const { id } = product
    terminal.json(
      checked.ok
        ? {
            ok: true,
            product: id,
            servers: checked.servers.map(({ host, port }) => ({ host, port })),
            warnings: checked.warnings,
          }
        : { ok: false, product: id, problem: checked.problem },
    )
  } else showCheck(text, checked, product, policy, terminal)
  return checked.ok ? 0 : 1
}

function showCheck(
  text: string,
  checked: CheckedString,
  product: ProductTemplate,
  policy: Snapshot | null,
  terminal: Terminal,
): void {
  if (!checked.ok) {
    terminal.print(...caretLines(text, checked.problem, terminal))
    return
  }
  const roles = product.grammar.entries === 2 ? ['primary', 'secondary'] : ['server']
  terminal.print(terminal.tone('good', `✓ well-formed for ${product.product}`))
  const rows = checked.servers.map(({ host, port }, index) => [
    roles[index] ?? '',
    port === null ? host : `${host}:${port}`,
    policy !== null && findName(policy, host) !== undefined ? 'served by the gate' : '',
  ])
  terminal.print(terminal.table(rows, '  '))
  for (const warning of checked.warnings) terminal.print(terminal.tone('warn', `  ${warning}`))
  terminal.print(terminal.wrap(NEW_TEMPLATE_FIRST, '  '))
}

/** The string with a caret below what is wrong; whatever a terminal would act on is shown as a dot. */
function caretLines(text: string, problem: StringProblem, terminal: Terminal): readonly string[] {
  const { line, column, width } = shownText(text, problem.at, problem.length)
  return [
    terminal.tone('bad', `✗ ${safeText(problem.message)}`),
    `    ${line}`,
    `    ${' '.repeat(column)}${terminal.tone('bad', '^'.repeat(width))}`,
    `  ${problem.hint}`,
  ]
}

function malformed(host: string, problem: StringProblem, option: string): PortcullisError {
  const { line, column } = shownText(host, problem.at, problem.length)
  return usageError(
    `${option}: ${safeText(problem.message)}\n    ${line}\n    ${' '.repeat(column)}^`,
    problem.hint,
  )
}

/** The policy; null when there is none that can be read: strings can be checked anywhere. */
function policyIfAny(args: CommandArguments, context: CommandContext): Snapshot | null {
  try {
    return requirePolicy(args, context).snapshot
  } catch (error) {
    if (error instanceof PortcullisError && args.text('policy') === undefined) return null
    throw error
  }
}

function gateNameOf(policy: Snapshot | null): string {
  const name = policy?.names.find(({ host }) => host !== 'localhost' && !host.startsWith('*.'))
  if (name !== undefined) return name.host
  throw usageError("the gate's public name is not known", 'Add --gate <host>.')
}

function productOf(word: string | undefined, policy: Snapshot | null): ProductTemplate {
  const id = word ?? policy?.names[0]?.profile.id ?? PRODUCT_TEMPLATES[0]?.id ?? ''
  const found = PRODUCT_TEMPLATES.find(entry => entry.id === id)
  if (found !== undefined) return found
  const ids = PRODUCT_TEMPLATES.map(entry => entry.id)
  const near = suggest(id, ids)
  throw usageError(
    `there is no template for "${id}"`,
    near === undefined ? `Known: ${ids.join(', ')}.` : `Did you mean ${near}?`,
  )
}

/** Whose names may stand where. Without a gate name nothing can be said about the order. */
function expected(
  gate: string | undefined,
  policy: Snapshot | null,
  product: ProductTemplate,
): ExpectedHosts {
  // A single address may be the direct one as well: the second field of the product.
  if (product.grammar.separator === null) return { isGate: null }
  if (gate !== undefined) return { isGate: host => host === gate }
  return policy === null ? { isGate: null } : { isGate: host => findName(policy, host) !== undefined }
}
