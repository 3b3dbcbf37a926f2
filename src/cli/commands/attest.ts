/** `tresor attest …`: words of the command line to operations. */
import { type Command, Option } from "commander"
import { show, showQuote, type VerifyOptions, verify } from "../attest.ts"
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
    return show(await askVolume(client), save)
  }
  const { openEnclave } = await import("../../enclave/loader.ts")
  await using enclave = await openEnclave({ backend })
  return show(enclave, save)
}

export function registerAttestCommands(program: Command): void {
  const attest = program.command("attest").description("quotes, policies, known enclaves")

  attest
    .command("show")
    .description("show what an enclave says of itself, and get a quote of it")
    .argument("[name]", "an open volume; default: an enclave started for this")
    .addOption(
      new Option("--backend <kind>", "where the enclave runs").choices(["auto", "sgx", "software"]).default("auto"),
    )
    .option("--quote <file>", "show what this quote says instead, unverified")
    .option("--save <folder>", "write the quote there, and what else `verify` needs of the software backend")
    .option("--json", "print JSON")
    .action(async (name: string | undefined, options: ShowWords) => {
      emit(options.quote === undefined ? await showEnclave(name, options) : showQuote(options.quote), options)
    })

  attest
    .command("verify")
    .description("judge a quote offline; exit 0 when it is accepted, 1 when it is refused")
    .requiredOption("--quote <file>", "ECDSA quote of an SGX enclave, version 3, 4 or 5")
    .requiredOption("--collateral <path>", "folder of what Intel's PCS returns, or one JSON file")
    .option("--policy <file>", "which enclaves and platforms are accepted; without: genuine and up to date")
    .option("--at <time>", "judge as of then: ISO 8601 or seconds since 1970; default: now")
    .option("--root <file>", "root certificate or key instead of Intel's, for tests")
    .option("--public-key <hex>", "with --nonce: the key REPORTDATA must bind")
    .option("--nonce <hex>", "with --public-key: the nonce REPORTDATA must bind")
    .option("--json", "print JSON")
    .addHelpText(
      "after",
      "\nExamples:\n  tresor attest show --save /tmp/q\n" +
        "  tresor attest policy init --testing --out /tmp/q/policy.json\n" +
        "  tresor attest verify --quote /tmp/q/quote.dat --collateral /tmp/q/collateral.json \\\n" +
        "    --root /tmp/q/root.pem --policy /tmp/q/policy.json",
    )
    .action(async (options: VerifyOptions & Json) => emit(await verify(options), options))

  const policy = attest.command("policy").description("files that say which enclaves get a passphrase")
  policy
    .command("init")
    .description("print a policy for this installation's enclave, or for that of a quote or SIGSTRUCT")
    .addOption(
      new Option("--by <what>", "this image only, or its signer's later versions too")
        .choices(["mrenclave", "mrsigner"])
        .default("mrsigner"),
    )
    .option("--quote <file>", "the enclave that this quote is of")
    .option("--sigstruct <file>", "the enclave that this SIGSTRUCT is for")
    .option("--collateral <path>", "take the lowest TCB evaluation data number from it; default: that which is kept")
    .option("--testing", "accept DEBUG enclaves and the software backend")
    .option("--out <file>", "write it there")
    .option("--force", "overwrite --out")
    .option("--json", "print JSON")
    .action(async (options: PolicyOptions & Json) => emit(await policyInit(options), options))
}
