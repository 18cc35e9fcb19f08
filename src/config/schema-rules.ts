// Schema of a rule file: one pack of rules with their conditions, exceptions and tests.
import { z } from 'zod'
import { id, lastDay, method, note, oneOrMany, strict, trafficClass } from './scalars.ts'

const text = z.string().min(1).max(2_000)

const field = z
  .string()
  .min(1)
  .max(100)
  .describe('A field of the request, for example path, args, header.referer, body.')

const test = strict({
  in: oneOrMany(field).describe('Fields to look at.'),
  matches: oneOrMany(text)
    .optional()
    .describe(
      'RE2 patterns; one must match. Input is decoded and in small letters unless the field ends in .raw.',
    ),
  has: oneOrMany(text).optional().describe('Texts; one must be contained (small letters).'),
  equals: oneOrMany(z.string().max(2_000))
    .optional()
    .describe('Texts; one must be the whole value (small letters).'),
  missing: z.boolean().optional().describe('true: none of the fields is there. false: at least one is.'),
  longerThan: z
    .number()
    .int()
    .min(0)
    .max(100_000_000)
    .optional()
    .describe('Characters that the value must exceed.'),
})

/** A condition as read. */
export type WrittenCondition =
  | { readonly all: readonly WrittenCondition[] }
  | { readonly any: readonly WrittenCondition[] }
  | { readonly not: WrittenCondition }
  | z.output<typeof test>

/** A condition. Its own schema object per form keeps error messages about the form that was meant. */
export const condition: z.ZodType<WrittenCondition> = z
  .lazy(() =>
    z.union([
      test,
      strict({ all: z.array(condition).min(1).describe('All of these hold.') }),
      strict({ any: z.array(condition).min(1).describe('At least one of these holds.') }),
      strict({ not: condition.describe('This does not hold.') }),
    ]),
  )
  .meta({ id: 'condition', description: 'A test of fields, or all, any, not of other conditions.' })

const exception = strict({
  paths: oneOrMany(text).optional().describe('Only on these paths.'),
  fields: oneOrMany(field).optional().describe('Only in these fields.'),
  sources: oneOrMany(text).optional().describe('Only from these addresses.'),
  sites: oneOrMany(text).optional().describe('Only from these sites.'),
  reason: note('Why, for the next admin.'),
  owner: note('Who answers for this.'),
  expires: lastDay,
}).describe('A place where the rule does not act.')

const testRequest = z.union([
  text.describe('METHOD and target.'),
  strict({
    request: text.describe('METHOD and target.'),
    class: trafficClass.optional(),
    host: text.optional(),
    headers: z.record(z.string(), z.string()).optional(),
    webSocket: z.boolean().optional(),
    body: z.string().optional(),
    form: z.record(z.string(), z.string()).optional(),
    json: z.unknown().optional(),
    xml: z.string().optional(),
  }),
])

/** A request of a rule's tests as read. */
export type WrittenRequest = z.output<typeof testRequest>

const rule = strict({
  id: id.describe('Id of the rule, unique over all packs.'),
  title: note('What the rule stops, in one line.'),
  severity: z.enum(['critical', 'high', 'medium', 'low']).describe('How bad a hit is.'),
  mode: z
    .enum(['enforce', 'detect', 'off'])
    .default('enforce')
    .describe('What a hit does. The policy may say otherwise.'),
  tags: z.array(text).default([]),
  refs: z.array(text).default([]).describe('CVE, CWE, CAPEC numbers.'),
  classes: z
    .array(trafficClass)
    .min(1)
    .nullable()
    .default(null)
    .describe('Only these classes; left out: all.'),
  methods: z.array(method).min(1).nullable().default(null).describe('Only these methods; left out: all.'),
  when: condition,
  except: z.array(exception).default([]),
  tests: strict({
    fires: z.array(testRequest).describe('Requests on which the rule must fire.'),
    quiet: z.array(testRequest).describe('Requests on which it must not.'),
  }).describe('The rule’s own tests: they run at every load.'),
}).describe('A rule.')

/** A rule as read. */
export type WrittenRule = z.output<typeof rule>

/** A rule file. */
export const ruleFile = strict({
  pack: id.describe('Id of the pack; one file is one pack.'),
  title: note('What the pack is for.').optional(),
  rules: z.array(rule).min(1).max(2_000),
}).describe('A rule pack.')
