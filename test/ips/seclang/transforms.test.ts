// Transforms of the ModSecurity language against known vectors; values are byte strings.
import { createHash } from 'node:crypto'
import test from 'ava'
import { array, assert, constantFrom, property, uint8Array } from 'fast-check'
import { TRANSFORM_NAMES, transformNamed } from '../../../src/ips/transform/table.ts'

function apply(name: string, value: string): string {
  const transform = transformNamed(name)
  if (transform === undefined) throw new Error(`no transform ${name}`)
  return transform.apply(value)
}

const VECTORS: Readonly<Record<string, readonly (readonly [from: string, to: string])[]>> = {
  urlDecode: [
    ['a+b%20c', 'a b c'],
    ['%41%zz%4', 'A%zz%4'],
    ['%', '%'],
    ['%u0041', '%u0041'],
    ['%00', '\0'],
    ['%e2%80%99', '\xe2\x80\x99'],
  ],
  urlDecodeUni: [
    ['%u0041+%41', 'A A'],
    ['%uff1cscript%uFF1E', '<script>'],
    ['%u2018', "'"],
    ['%u2215', '/'],
    ['%u004', '%u004'],
    ['%u1234', '4'],
    ['%%41', '%A'],
  ],
  urlEncode: [['a b/*', 'a+b%2f*']],
  htmlEntityDecode: [
    ['&lt;a&gt;&quot;&amp;', '<a>"&'],
    ['&#x3c;&#60&#x3C', '<<<'],
    ['&#0000000000000000000000000000123;', '{'],
    ['&LT;&nbsp;&unknown;&', '<\xa0&unknown;&'],
    ['&#;&#x;', '&#;&#x;'],
  ],
  jsDecode: [
    ['\\x41\\u0042\\103\\n\\q', 'ABC\nq'],
    ['\\uff1c', '<'],
    ['\\400', '\x200'],
    ['a\\', 'a\\'],
    ['\\xzz', 'xzz'],
  ],
  cssDecode: [
    ['ja\\vascript', 'javascript'],
    ['\\6a avascript', 'javascript'],
    ['\\00006aavascript', 'javascript'],
    ['\\00006a avascript', 'javascript'],
    ['\\ff1cx', '<x'],
    ['a\\\nb', 'ab'],
    ['a\\', 'a'],
  ],
  escapeSeqDecode: [
    ['\\a\\x41\\101\\q\\', '\x07AA\\q\\'],
    ["\\'\\?", "'?"],
  ],
  cmdLine: [
    ['C^OMMAND /C "dir"', 'command/c dir'],
    ['a,;  b', 'a b'],
    ["w\\h\\o'am'i (x)", 'whoami(x)'],
  ],
  normalizePath: [
    ['/a/./b//c/../d', '/a/b/d'],
    ['/../../etc/passwd', '/etc/passwd'],
    ['../../a', '../../a'],
    ['/a/b/', '/a/b/'],
    ['/a/b/..', '/a/'],
    ['a.b..c', 'a.b..c'],
    ['', ''],
  ],
  normalizePathWin: [['\\a\\.\\b\\..\\c', '/a/c']],
  removeNulls: [['a\0b\0', 'ab']],
  replaceNulls: [['a\0b', 'a b']],
  removeWhitespace: [[' a\t\xa0b\n', 'ab']],
  compressWhitespace: [['a \t\xa0 b', 'a b']],
  replaceComments: [
    ['a/*x*/b', 'a b'],
    ['a/*x', 'a '],
    ['a/**/b/**/', 'a b '],
    ['*/a', '*/a'],
  ],
  removeComments: [
    ['a/*x*/b<!--y-->c', 'abc'],
    ['a--x', 'a'],
    ['a#x', 'a'],
    ['a/*x', 'a'],
  ],
  removeCommentsChar: [['a/*x*/b--#', 'axb']],
  lowercase: [['AbZ\xc4', 'abz\xc4']],
  uppercase: [['abz\xe4', 'ABZ\xe4']],
  trim: [['  a b \n', 'a b']],
  trimLeft: [[' a ', 'a ']],
  trimRight: [[' a ', ' a']],
  utf8toUnicode: [
    ['a\xe2\x80\x99b', 'a%u2019b'],
    ['\xc0\xae', '%u002e'],
    ['\xff\xe2', '\xff\xe2'],
  ],
  base64Decode: [
    ['VGVzdA==', 'Test'],
    ['VGVzdA', 'Test'],
    ['VG*Vz', 'T'],
  ],
  base64DecodeExt: [['V.G-V z dA==', 'Test']],
  base64Encode: [
    ['Test', 'VGVzdA=='],
    ['\xff\xfe\xfd', '//79'],
    ['', ''],
  ],
  hexDecode: [
    ['414243', 'ABC'],
    ['41zz', 'A'],
    ['4', ''],
  ],
  hexEncode: [['AB\xff', '4142ff']],
  length: [
    ['abc', '3'],
    ['', '0'],
  ],
  sqlHexDecode: [
    ['select 0x414243', 'select ABC'],
    ['0xzz 0x4', '0xzz 0x4'],
  ],
  parityEven7bit: [['a', '\xe1']],
  parityOdd7bit: [['a', 'a']],
  parityZero7bit: [['\xe1', 'a']],
}

for (const [name, vectors] of Object.entries(VECTORS)) {
  test(`${name} gives what is known of it`, t => {
    for (const [from, to] of vectors) t.is(apply(name, from), to, JSON.stringify(from))
  })
}

test('digests are those of other implementations, at every length around a block', t => {
  for (let length = 0; length <= 130; length++) {
    const value = Buffer.alloc(length, length * 7).toString('latin1')
    for (const name of ['sha1', 'md5']) {
      const expected = createHash(name).update(value, 'latin1').digest().toString('latin1')
      t.is(apply(name, value), expected, `${name} of ${length} bytes`)
    }
  }
})

test('names compare without regard to case, British spellings are known, others are not', t => {
  t.is(apply('NORMALISEPATH', '/a/./b'), '/a/b')
  t.is(apply('UrlDecodeUni', '%41'), 'A')
  t.is(transformNamed('none'), undefined)
})

test('transforms give byte strings for any byte string, and coding and decoding undo each other', t => {
  const bytes = uint8Array({ maxLength: 200 }).map(array => Buffer.from(array).toString('latin1'))
  assert(
    property(bytes, constantFrom(...TRANSFORM_NAMES), (value, name) => {
      const changed = apply(name, value)
      return /^[\0-\xff]*$/.test(changed)
    }),
    { numRuns: 2000 },
  )
  assert(property(bytes, value => apply('base64Decode', apply('base64Encode', value)) === value))
  assert(property(bytes, value => apply('hexDecode', apply('hexEncode', value)) === value))
  assert(property(bytes, value => apply('urlDecode', apply('urlEncode', value)) === value))
  t.pass()
})

test('a value without the characters that a transform names is not changed by it', t => {
  for (const name of TRANSFORM_NAMES) {
    const changes = transformNamed(name)?.changes
    if (changes === undefined) continue
    const others = Array.from({ length: 256 }, (_, unit) => String.fromCharCode(unit)).filter(
      character => !changes.includes(character),
    )
    assert(
      property(array(constantFrom(...others), { maxLength: 12 }), characters => {
        const value = characters.join('')
        t.is(apply(name, value), value, name)
      }),
      { numRuns: 300, seed: 3 },
    )
  }
})
