// Imported rules are asked by what scans of the request found; asking every rule must come to the same.
import test from 'ava'
import { array, assert, constantFrom, option, property, record, type Arbitrary } from 'fast-check'
import { ask, compiled, type Asked } from './support.ts'

// Every way in which a rule can be left out or must not be: jumps, effects before a link that fails, exclusions, single members,
// phrases, every step of transforms, counts, negations, rules that take out others, matched values.
const RULES = compiled(`
SecAction "id:1,phase:1,pass,nolog,setvar:tx.level=1"
SecRule REQUEST_HEADERS:User-Agent "@pm Nikto sqlmap" "id:2,phase:1,pass,t:lowercase,setvar:tx.agent=1"
SecRule ARGS_GET|!ARGS_GET:free "@rx evil" "id:3,phase:1,pass,t:none,t:lowercase"
SecRule ARGS_GET:a|ARGS_GET:/^b/ "@contains x" "id:4,phase:1,pass"
SecRule REQUEST_URI "@validateUrlEncoding" "id:5,phase:1,pass"
SecRule ARGS_GET "@validateByteRange 32-126" "id:6,phase:1,pass,t:urlDecodeUni"
SecRule ARGS_GET "@rx (?i)jump" "id:7,phase:1,pass,skipAfter:ONE"
SecRule REQUEST_COOKIES "@rx evil" "id:8,phase:1,pass,setvar:'tx.cookie=+1'"
SecRule REQUEST_METHOD "@rx ." "id:9,phase:1,pass,chain,setvar:'tx.first=+1'"
  SecRule ARGS_GET "@rx evil" "setvar:tx.second=1"
SecRule REQUEST_METHOD "!@rx ^GET$" "id:10,phase:1,pass,chain"
  SecRule ARGS|REQUEST_BODY "@pm evil bash" "t:none,t:lowercase"
SecMarker ONE
SecRule TX:FIRST "@ge 1" "id:11,phase:1,pass"
SecRule ARGS_GET "@rx ^skip$" "id:12,phase:1,pass,ctl:ruleRemoveById=20,ctl:ruleRemoveTargetById=21;ARGS:a"
SecRule ARGS "@rx evil" "id:20,phase:2,pass"
SecRule ARGS "@rx evil" "id:21,phase:2,pass"
SecRule ARGS "@rx <script" "id:22,phase:2,pass,multiMatch,t:none,t:urlDecodeUni,t:lowercase"
SecRule TX:LEVEL "@lt 2" "id:23,phase:2,pass,nolog,skipAfter:TWO"
SecRule ARGS "@rx ." "id:24,phase:2,pass"
SecMarker TWO
SecRule ARGS|XML:/*|XML://@* "@pm evil bash" "id:25,phase:2,pass,chain"
  SecRule MATCHED_VARS "@rx x" "setvar:tx.both=1"
SecRule &ARGS "@gt 2" "id:26,phase:2,pass"
SecRule REQUEST_BODY "@pm |6576|il" "id:27,phase:2,pass"
SecRule ARGS "@within aevil" "id:28,phase:2,pass"
SecRule MATCHED_VAR "@rx ." "id:29,phase:2,pass"
`)

const piecesOf = (...list: string[]): Arbitrary<string> =>
  array(constantFrom(...list), { maxLength: 3 }).map(parts => parts.join(''))

test('leaving rules out by what scans found changes neither what fires nor what rules set', t => {
  t.deepEqual(RULES.problems, [])
  const value = piecesOf(
    'evil',
    'EVIL',
    'x',
    'jump',
    'skip',
    'bash',
    '%3Cscript',
    '%3cSCRIPT',
    '%zz',
    '%01',
    'a',
  )
  const query = array(record({ name: constantFrom('a', 'b1', 'free', 'evil'), value }), { maxLength: 3 }).map(
    pairs => pairs.map(pair => `${pair.name}=${pair.value}`).join('&'),
  )
  const bodies = value.chain(text =>
    constantFrom(
      { type: 'application/x-www-form-urlencoded', body: `a=${text}&c=x` },
      { type: 'application/json', body: JSON.stringify({ a: text, b: [text] }) },
      { type: 'text/xml', body: `<a b="${text.replaceAll('<', '')}">x${text.replaceAll('<', '')}</a>` },
    ),
  )
  const seen = new Set<number>()
  assert(
    property(query, option(bodies), piecesOf('Mozilla', 'NIKTO', ' '), value, (text, body, agent, cookie) => {
      const headers = {
        'user-agent': agent,
        cookie: `id=${cookie}`,
        ...(body === null ? {} : { 'content-type': body.type, 'content-length': String(body.body.length) }),
      }
      const asked: Asked = {
        method: body === null ? 'GET' : 'POST',
        headers,
        ...(body === null ? {} : { body: body.body }),
      }
      const few = ask(RULES, `/x?${text}`, asked)
      for (const id of few.fired) seen.add(id)
      t.deepEqual(few, ask(RULES, `/x?${text}`, asked, { prefilter: false }))
    }),
    { numRuns: 800, seed: 5 },
  )
  // Rule 24 stands where nobody comes, 29 reads what a rule before it matched.
  const never = RULES.rules.map(({ number }) => number).filter(number => !seen.has(number))
  t.deepEqual(never, [24, 29])
})
