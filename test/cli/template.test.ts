// portcullis template, as people type it: what is printed validates, what is mistyped is shown with a caret.
import test from 'ava'
import { checkServerString } from '../../src/deploy/server-string.ts'
import { PRODUCT_TEMPLATES } from '../../src/deploy/templates.ts'
import { HOST, startBench } from './support.ts'

test('P6, P7: the string of the policy in force, ready to paste, and the rule of the new template', async t => {
  const bench = startBench(t, 'deployment: { direct: direct.example.com }')
  const { code, out } = await bench.cli(['template'])
  t.is(code, 0)
  t.true(out.includes(`    https://${HOST}|https://direct.example.com\n`), out)
  t.regex(out, /Make a new template/)
  t.regex(out, /services have\s+restarted/)
  const printed = /template check '([^']+)'/.exec(out)?.[1] ?? ''
  const checked = await bench.cli(['template', 'check', printed])
  t.is(checked.code, 0, checked.out)
  t.regex(checked.out, /primary +rmm\.example\.test +served by the gate/)
})

test('N22: every product says what to set where, and every printed value passes its own check', async t => {
  const bench = startBench(t)
  for (const { id } of PRODUCT_TEMPLATES) {
    const { code, value } = await bench.json(['template', id, '--direct', 'direct.example.com'])
    t.is(code, 0, id)
    const settings = value['settings'] as readonly { readonly where: string; readonly value: string }[]
    t.true(settings.length > 0, id)
    t.not(value['restart'], '')
    for (const setting of settings) {
      const check = await bench.cli(['template', 'check', setting.value, '--product', id])
      t.is(check.code, 0, `${id}: ${check.out}${check.err}`)
    }
  }
  const netsupport = await bench.cli(['template', 'netsupport', '--direct', 'direct.example.com'])
  t.true(netsupport.out.includes(`    GatewayAddress=${HOST}:443\n`))
  t.true(netsupport.out.includes('    SecondaryGateway=direct.example.com:443\n'))
  const mesh = await bench.json(['template', 'meshcentral'])
  const files = mesh.value['files'] as readonly { readonly file: string; readonly lines: readonly string[] }[]
  const config = JSON.parse(files.find(file => file.file.startsWith('config'))?.lines.join('\n') ?? '') as {
    readonly settings: Readonly<Record<string, unknown>>
  }
  t.is(config.settings['cert'], HOST)
})

test('the egress address of the policy is what MeshCentral is told to trust', async t => {
  const bench = startBench(t, 'deployment: { egress: [203.0.113.5] }')
  const { out } = await bench.cli(['template', 'meshcentral'])
  t.regex(out, /"trustedProxy": "203\.0\.113\.5"/)
})

test('a mistake is shown with a caret below the character, and nothing reaches the terminal unescaped', async t => {
  const bench = startBench(t)
  const wrong = await bench.cli(['template', 'check', `https://${HOST}/|https://direct.example.com`])
  t.is(wrong.code, 1)
  const [, line = '', caret = ''] = wrong.out.split('\n')
  t.is(line[caret.indexOf('^')], '/')
  const escape = await bench.cli(['template', 'check', `https://${HOST}\u001b[2J|https://x.example.com`])
  t.is(escape.code, 1)
  t.false(escape.out.includes('\u001b'))
  t.regex(escape.out, /control character \(U\+001B\)/)
  const wide = await bench.cli(['template', 'check', `https://${HOST}｜https://direct.example.com`])
  t.regex(wide.out, /looks like "\|"/)
})

test('wrong order, the gate as its own secondary, and names that the gate does not serve are refused', async t => {
  const bench = startBench(t)
  const check = async (text: string): Promise<string> => {
    const { code, out } = await bench.cli(['template', 'check', text])
    t.is(code, 1, text)
    return out
  }
  t.regex(await check(`https://direct.example.com|https://${HOST}`), /order is wrong/)
  t.regex(await check('https://a.example.com|https://b.example.com'), /does not serve/)
  const json = await bench.json(['template', 'check', `http://${HOST}|https://direct.example.com`])
  t.is(json.code, 1)
  t.is((json.value['problem'] as { readonly at: number }).at, 0)
})

test('calls that cannot be answered say what is missing', async t => {
  const bench = startBench(t)
  const missing = await bench.cli(['template'])
  t.is(missing.code, 2)
  t.regex(missing.err, /--direct <host>/)
  const misspelt = await bench.cli(['template', 'automat', '--direct', 'direct.example.com'])
  t.regex(misspelt.err, /there is no template for "automat"/)
  const pieces = await bench.cli(['template', 'check', 'https://a', '|https://b'])
  t.regex(pieces.err, /2 pieces/)
  const capital = await bench.cli(['template', '--direct', 'Direct.example.com'])
  t.regex(capital.err, /--direct: a capital letter[^]*\^/)
  const same = await bench.cli(['template', '--direct', HOST])
  t.regex(same.err, /same host/)
  const list = await bench.cli(['template', '--list'])
  t.is(list.out.trim().split('\n').length, PRODUCT_TEMPLATES.length)
})

test('the example of the documents is well-formed', t => {
  const [automate] = PRODUCT_TEMPLATES
  t.truthy(automate)
  if (automate !== undefined)
    t.true(checkServerString('https://gate.example.com|https://direct.example.com', automate.grammar).ok)
})
