/** `tresor enclave …`: words of the command line to operations. */
import { join } from "node:path"
import type { Command } from "commander"
import { Exit, TresorError } from "../../base/errors.ts"
import { installationRoot } from "../../base/installation.ts"
import { info, measure, type SignOptions, sign, verify, verifySource } from "../enclave-image.ts"
import { emit } from "../result.ts"

const ownImage = (): string => join(installationRoot, "enclave/build/tresor.elf")

interface Json {
  readonly json?: boolean
}

interface VerifyWords extends Json {
  readonly sigstruct?: string
  readonly image?: string
  readonly conf?: string
  readonly source?: boolean
}

export function registerEnclaveCommands(program: Command): void {
  const enclave = program.command("enclave").description("inspect, measure, sign and verify the enclave image")
  const conf = ["--conf <file>", "enclave.conf of the ELF image (default: beside it)"] as const

  enclave
    .command("info")
    .description("show an ELF image, an SGXS stream or a SIGSTRUCT")
    .argument("[file]", "image (default: this installation's enclave)")
    .option(...conf)
    .option("--json", "print JSON")
    .action((file: string | undefined, options: Json & { conf?: string }) => {
      emit(info({ file: file ?? ownImage(), conf: options.conf }), options)
    })

  enclave
    .command("measure")
    .description("print the MRENCLAVE of an ELF image or an SGXS stream")
    .argument("[file]", "image (default: this installation's enclave)")
    .option(...conf)
    .option("--json", "print JSON")
    .action((file: string | undefined, options: Json & { conf?: string }) => {
      emit(measure({ file: file ?? ownImage(), conf: options.conf }), options)
    })

  enclave
    .command("sign")
    .description("make the SIGSTRUCT of an image, with a key file, or in two steps with a key kept elsewhere")
    .argument("<image>")
    .option(...conf)
    .option("--key <file>", "RSA-3072 key with exponent 3, PEM; with --attach the public key is enough")
    .option("--out <file>", "output file (default: beside the image)")
    .option("--date <YYYYMMDD>", "signing date (default: today)")
    .option("--debug", "sign a DEBUG enclave, whose memory the host can read")
    .option("--prepare", "write the 256 bytes that the key's holder must sign")
    .option("--attach <signature>", "complete a prepared SIGSTRUCT with this signature")
    .option("--prepared <file>", "output of --prepare (default: beside the image)")
    .option("--json", "print JSON")
    .addHelpText(
      "after",
      "\nExamples:\n  tresor enclave sign tresor.elf --prepare\n" +
        "  openssl dgst -sha256 -sign key.pem -out tresor.sig tresor.tosign\n" +
        "  tresor enclave sign tresor.elf --attach tresor.sig --key public.pem",
    )
    .action((file: string, options: Json & Omit<SignOptions, "file">) => emit(sign({ ...options, file }), options))

  enclave
    .command("verify")
    .description("verify a SIGSTRUCT as EINIT does, or build the sources and compare")
    .option("--sigstruct <file>", "SIGSTRUCT to verify")
    .option("--image <file>", "image that the SIGSTRUCT must match")
    .option(...conf)
    .option("--source", "build this checkout's enclave and compare the image with it")
    .option("--json", "print JSON")
    .action(async (options: VerifyWords) => {
      if (options.source) return emit(await verifySource(installationRoot, options), options)
      if (options.sigstruct === undefined) {
        throw new TresorError(
          "IMAGE_BAD_OPTIONS",
          Exit.badArguments,
          "Cannot verify: name --sigstruct FILE, or --source",
        )
      }
      emit(verify({ ...options, sigstruct: options.sigstruct }), options)
    })
}
