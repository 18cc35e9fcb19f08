// What a fix is: steps for a person, the same as commands for a program, and a patch of the policy file.

/** Where a command is to be run. */
export type Where = 'gate' | 'device' | 'site' | 'rmm-server' | 'load-balancer'

/** A command in one piece, ready to be copied. */
export type FixCommand = {
  readonly where: Where
  readonly shell: 'sh' | 'powershell'
  readonly command: string
}

/** YAML that is merged into a file of the policy directory (`portcullis allow --from` does it, or a person). */
export type FixPatch = {
  readonly file: 'portcullis.yaml'
  readonly yaml: string
  /** Last day on which it holds; null: it has no end. */
  readonly expires: string | null
}

/** A fix. */
export type Fix = {
  /** For a person, in order; commands stand in them, one line of a command per step. */
  readonly steps: readonly string[]
  /** Text of the patch, for programs that know no `patch`. */
  readonly yaml: string | null
  readonly patch: FixPatch | null
  readonly commands: readonly FixCommand[]
}

/** A step: a sentence, or a command behind some words. */
export type Part = string | (FixCommand & { readonly before: string })

/** A command of the gate's own command line. */
export function onGate(command: string, before = ''): Part {
  return { where: 'gate', shell: 'sh', command, before }
}

/** A PowerShell command for a machine of the customer. */
export function onWindows(where: Where, before: string, ...lines: readonly string[]): Part {
  return { where, shell: 'powershell', command: lines.join('\n'), before }
}

/** Puts a fix together. */
export function makeFix(parts: readonly Part[], patch: Omit<FixPatch, 'file'> | string | null = null): Fix {
  const given = typeof patch === 'string' ? { yaml: patch, expires: null } : patch
  return {
    steps: parts.flatMap(stepsOf),
    yaml: given?.yaml ?? null,
    patch: given === null ? null : { file: 'portcullis.yaml', ...given },
    commands: parts.flatMap(part =>
      typeof part === 'string' ? [] : [{ where: part.where, shell: part.shell, command: part.command }],
    ),
  }
}

/** Words that a command can stand behind in the same line. */
const SHORT = 60

function stepsOf(part: Part): readonly string[] {
  if (typeof part === 'string') return [part]
  const lines = part.command.split('\n')
  if (lines.length === 1 && part.before.length <= SHORT) return [part.before + part.command]
  return [...(part.before === '' ? [] : [part.before.trimEnd()]), ...lines.map(line => `  ${line}`)]
}
