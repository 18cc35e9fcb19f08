// Schema of a rule file: one pack of rules with their conditions, exceptions and tests.
import { z } from 'zod'
import { duration, id, lastDay, method, note, oneOrMany, strict, trafficClass } from './scalars.ts'

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
  above: z
    .number()
    .optional()
    .describe('The value is a number above this: body.size, hello.ciphers, message.number.'),
  below: z.number().optional().describe('The value is a number below this.'),
})

/** A condition as read. */
export type WrittenCondition =
  | { readonly all: readonly WrittenCondition[] }
  | { readonly any: readonly WrittenCondition[] }
  | { readonly not: WrittenCondition }
  | z.output<typeof test>

/** A condition. Its own schema object per form keeps error messages about the form that was meant. */
const condition: z.ZodType<WrittenCondition> = z
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

const base64 = z
  .string()
  .max(1_000_000)
  .regex(/^[A-Za-z0-9+/\s]*={0,2}\s*$/, 'must be base64')

const testRequest = z.union([
  text.describe('METHOD and target.'),
  strict({
    request: text.optional().describe('METHOD and target; left out only beside hello.'),
    class: trafficClass.optional().describe('Class of the request; left out: the first class of the rule.'),
    host: text.optional(),
    headers: z.record(z.string(), z.string()).optional(),
    webSocket: z.boolean().optional(),
    body: z.string().optional().describe('The body as text.'),
    base64Body: base64.optional().describe('The body as bytes in base64.'),
    form: z.record(z.string(), z.string()).optional().describe('The body as form fields.'),
    json: z.unknown().optional().describe('The body as JSON.'),
    xml: z.string().optional().describe('The body as XML.'),
    multipart: z
      .array(
        strict({
          name: z.string().describe('Name of the form field.'),
          fileName: z.string().optional().describe('Makes it a file.'),
          type: z.string().optional().describe('Content type of the part.'),
          content: z.string().optional(),
          base64: base64.optional().describe('The content as bytes in base64.'),
        }),
      )
      .optional()
      .describe('The body as multipart/form-data.'),
    messages: z
      .array(z.union([z.string(), strict({ base64 })]))
      .max(64)
      .optional()
      .describe('Messages of the client after a WebSocket handshake: texts, or bytes in base64.'),
    hello: strict({
      ja4: text.optional(),
      alpn: z.array(text).optional(),
      versions: z.array(text).optional(),
      serverName: text.nullable().optional(),
      ciphers: z.number().int().min(0).optional(),
    })
      .optional()
      .describe('A ClientHello instead of a request.'),
    from: text.optional().describe('Address of the client.'),
    country: text.optional().describe('Country of the client.'),
    listener: text.optional().describe('Id of the listener.'),
    times: z
      .number()
      .int()
      .min(1)
      .max(10_000)
      .optional()
      .describe('For rules that count: how often the request comes.'),
    within: duration(1_000, 86_400_000)
      .optional()
      .describe('For rules that count: the time over which the requests are spread.'),
    status: z
      .number()
      .int()
      .min(100)
      .max(599)
      .optional()
      .describe('For rules that count failures: what the upstream answers.'),
  }),
])

const rate = strict({
  over: z.number().int().min(1).max(1_000_000).describe('Requests that are still let through.'),
  per: duration(1_000, 86_400_000).describe('Time in which they are counted.'),
  by: z
    .enum(['source', 'site', 'source+user'])
    .default('source')
    .describe('Whose requests are counted together.'),
  user: field.optional().describe('For source+user: the field with the name of the user.'),
  on: z
    .enum(['request', 'failure'])
    .default('request')
    .describe('failure: only requests that the server answered with 401, 403 or 429.'),
  hold: duration(1_000, 86_400_000).describe('How long the rule goes on once it is met.'),
}).describe('Makes the rule count: it acts only when its condition holds too often.')

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
  product: oneOrMany(id)
    .nullable()
    .default(null)
    .describe('Profiles whose products the rule concerns; left out: all.'),
  notFor: oneOrMany(id)
    .default([])
    .describe(
      'Profiles whose products send what the rule looks for themselves: where one is in use, the rule is left out.',
    ),
  phase: z
    .enum(['hello', 'head', 'body', 'message'])
    .nullable()
    .default(null)
    .describe('When the rule is asked; left out: when its fields are known.'),
  action: z
    .enum(['block', 'score'])
    .default('block')
    .describe(
      'block: a hit refuses. score: a hit adds points (critical 5, high 4, medium 3, low 2); the request is refused when they reach rules.threshold of the policy.',
    ),
  rate: rate.nullable().default(null),
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
