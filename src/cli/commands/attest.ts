/** `tresor attest …`: words of the command line to operations. */
import { type Command, Option } from "commander"
import { type QuoteVerification, show, showQuote, verify } from "../attest.ts"
import { type PolicyOptions, policyInit } from "../policy-init.ts"
import { emit } from "../result.ts"

interface Json {
  readonly json?: boolean
}

interface ShowWords extends Json {
  readonly quote?: string
  readonly save?: string
  readonly backend: "auto" | "sgx" | "software"
}

/** The enclave of an open volume, or one of our own for as long as it takes. */
async function showEnclave(name: string | undefined, { backend, save }: ShowWords) {
  if (name !== undefined) {
    const { connectVolume } = await import("../../control/daemon.ts")
    const { askVolume } = await import("../../control/enclave.ts")
    using client = await connectVolume(name)
    return show((await askVolume(client)).enclave, save)
  }
  const { openEnclave } = await import("../../enclave/loader.ts")
  await using enclave = await openEnclave({ backend })
  return show(enclave, save)
}

export function registerAttestCommands(program: Command): void {
  const attest = program.command("attest").description("quotes and policies of enclaves")

  attest
    .command("show")
    .description("show an enclave's identity and get a quote of it")
    .argument("[name]", "open volume (default: an enclave started for this)")
    .addOption(
      new Option("--backend <kind>", "where the enclave runs").choices(["auto", "sgx", "software"]).default("auto"),
    )
    .option("--quote <file>", "show this quote instead, unverified")
    .option("--save <folder>", "write the quote to this directory, with the files `verify` needs")
    .option("--json", "print JSON")
    .action(async (name: string | undefined, options: ShowWords) => {
      emit(options.quote === undefined ? await showEnclave(name, options) : showQuote(options.quote), options)
    })

  attest
    .command("verify")
    .description("verify a quote offline; exit status 0: accepted, 1: refused")
    .requiredOption("--quote <file>", "ECDSA quote of an SGX enclave, version 3, 4 or 5")
    .requiredOption("--collateral <path>", "directory of responses of Intel's PCS, or one JSON file")
    .option("--policy <file>", "accepted enclaves and platforms (default: any genuine one that is up to date)")
    .option("--at <time>", "time of verification: ISO 8601 or seconds since 1970 (default: now)")
    .option("--root <file>", "root certificate or key instead of Intel's, for tests")
    .option("--public-key <hex>", "with --nonce: public key that REPORTDATA must bind")
    .option("--nonce <hex>", "with --public-key: nonce that REPORTDATA must bind")
    .option("--json", "print JSON")
    .addHelpText(
      "after",
      "\nExamples:\n  tresor attest show --save /tmp/q\n" +
        "  tresor attest policy init --testing --out /tmp/q/policy.json\n" +
        "  tresor attest verify --quote /tmp/q/quote.dat --collateral /tmp/q/collateral.json \\\n" +
        "    --root /tmp/q/root.pem --policy /tmp/q/policy.json",
    )
    .action(async (options: QuoteVerification & Json) => emit(await verify(options), options))

  const policy = attest.command("policy").description("policies that decide which enclaves get a passphrase")
  policy
    .command("init")
    .description("print a policy for this installation's enclave, or for that of a quote or SIGSTRUCT")
    .addOption(
      new Option("--by <what>", "accept this exact image, or all later ones that its release key signs")
        .choices(["mrenclave", "mrsigner"])
        .default("mrenclave"),
    )
    .option("--quote <file>", "take the enclave from this quote")
    .option("--sigstruct <file>", "take the enclave from this SIGSTRUCT")
    .option("--collateral <path>", "take the lowest TCB evaluation data number from this (default: the remembered one)")
    .option("--testing", "accept DEBUG enclaves and the software backend")
    .option("--out <file>", "write the policy to this file")
    .option("--force", "overwrite --out")
    .option("--json", "print JSON")
    .action(async (options: PolicyOptions & Json) => emit(await policyInit(options), options))
}
