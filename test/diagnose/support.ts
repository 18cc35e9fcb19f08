// Words that situations share: addresses with well-known countries, a check-in, and what a diagnosis says.
import { mergePatch } from '../../src/config/edit-policy.ts'
import type { Ask, ClientResult, RunningBench } from '../cli/support.ts'

/** Every database knows it in the United States. */
export const US = '216.160.83.56'
/** Every database knows it in Great Britain. */
export const GB = '81.2.69.142'
/** What an agent asks. */
export const AGENT: Ask = { path: '/LabTech/Agent.aspx' }

/** A fix as `--json` prints it. */
export type Fix = {
  readonly steps: readonly string[]
  readonly yaml: string | null
  readonly patch: { readonly file: string; readonly yaml: string; readonly expires: string | null } | null
  readonly commands: readonly { readonly where: string; readonly shell: string; readonly command: string }[]
}

/** A diagnosis as `--json` prints it, with the exit code. */
export type Found = {
  readonly cause: string
  readonly healthy: boolean
  readonly sentence: string
  readonly evidence: readonly { readonly atMs: number | null; readonly text: string }[]
  readonly fix: Fix | null
  readonly code: number
}

/** Whether the RMM server answered. */
export function isThrough(result: ClientResult): boolean {
  return 'status' in result && result.status === 200
}

/** Diagnoses an address. */
export async function diagnose(bench: RunningBench, address: string): Promise<Found> {
  const { code, value } = await bench.json(['diagnose', address])
  return { ...(value['diagnosis'] as Omit<Found, 'code'>), code }
}

/** Merges the patch of a fix into the policy file, as an admin would, and has the gate take it. */
export async function applyPatch(bench: RunningBench, fix: Fix | null): Promise<void> {
  if (fix === null || fix.patch === null || fix.patch.yaml !== fix.yaml)
    throw new Error(`the fix has no patch: ${JSON.stringify(fix)}`)
  const edit = mergePatch(fix.patch.file, bench.policyText(), fix.patch.yaml)
  if (!edit.ok) throw new Error(edit.problem)
  bench.writePolicy(edit.text)
  const { code, err } = await bench.cli(['reload'])
  if (code !== 0) throw new Error(`${err}\n${bench.policyText()}`)
}
