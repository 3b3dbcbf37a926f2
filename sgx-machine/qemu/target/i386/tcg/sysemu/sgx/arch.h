/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the architecture defines: Intel SDM vol. 3D, "Enclave Access Control
 * and Data Structures". Offsets are checked below; all integers are
 * little-endian, and so must the host be.
 */
#ifndef SGX_ARCH_H
#define SGX_ARCH_H

#if HOST_BIG_ENDIAN
#error "SGX's structures are used in place: the host must be little-endian"
#endif

#define SGX_PAGE 4096u

/* EAX of ENCLS and ENCLU. */
enum {
    ENCLS_ECREATE, ENCLS_EADD, ENCLS_EINIT, ENCLS_EREMOVE,
    ENCLS_EDBGRD, ENCLS_EDBGWR, ENCLS_EEXTEND, ENCLS_ELDB,
    ENCLS_ELDU, ENCLS_EBLOCK, ENCLS_EPA, ENCLS_EWB,
    ENCLS_ETRACK, ENCLS_EAUG, ENCLS_EMODPR, ENCLS_EMODT,
    ENCLS_LEAVES,
};
enum {
    ENCLU_EREPORT, ENCLU_EGETKEY, ENCLU_EENTER, ENCLU_ERESUME,
    ENCLU_EEXIT, ENCLU_EACCEPT, ENCLU_EMODPE, ENCLU_EACCEPTCOPY,
    ENCLU_LEAVES,
};

/* "Error or Information Codes for Intel SGX Instructions" */
enum {
    SGX_SUCCESS = 0,
    SGX_INVALID_SIG_STRUCT = 1,
    SGX_INVALID_ATTRIBUTE = 2,
    SGX_BLKSTATE = 3,
    SGX_INVALID_MEASUREMENT = 4,
    SGX_NOTBLOCKABLE = 5,
    SGX_PG_INVLD = 6,
    SGX_INVALID_SIGNATURE = 8,
    SGX_MAC_COMPARE_FAIL = 9,
    SGX_PAGE_NOT_BLOCKED = 10,
    SGX_NOT_TRACKED = 11,
    SGX_VA_SLOT_OCCUPIED = 12,
    SGX_CHILD_PRESENT = 13,
    SGX_ENCLAVE_ACT = 14,
    SGX_INVALID_EINITTOKEN = 16,
    SGX_PREV_TRK_INCMPL = 17,
    SGX_PG_IS_SECS = 18,
    SGX_PAGE_ATTRIBUTES_MISMATCH = 19,
    SGX_PAGE_NOT_MODIFIABLE = 20,
    SGX_PAGE_NOT_DEBUGGABLE = 21,
    SGX_INVALID_CPUSVN = 32,
    SGX_INVALID_ISVSVN = 64,
    SGX_INVALID_KEYNAME = 256,
};

/* "Page Type" */
enum { PT_SECS, PT_TCS, PT_REG, PT_VA, PT_TRIM };

/* SECINFO.FLAGS */
#define SECINFO_R        0x01ull
#define SECINFO_W        0x02ull
#define SECINFO_X        0x04ull
#define SECINFO_RWX      0x07ull
#define SECINFO_PENDING  0x08ull
#define SECINFO_MODIFIED 0x10ull
#define SECINFO_PR       0x20ull
#define SECINFO_RESERVED (~0xff3full)
#define SECINFO_PT(flags) ((uint8_t)((flags) >> 8))

/* ATTRIBUTES.FLAGS */
#define ATTRIBUTE_INIT           0x01ull
#define ATTRIBUTE_DEBUG          0x02ull
#define ATTRIBUTE_MODE64BIT      0x04ull
#define ATTRIBUTE_PROVISIONKEY   0x10ull
#define ATTRIBUTE_EINITTOKEN_KEY 0x20ull
#define ATTRIBUTE_KSS            0x80ull

/* CPUID.(12H,0).EDX: log2 of the largest enclave outside of and in 64-bit mode */
#define SGX_MAX_SIZE_32 31
#define SGX_MAX_SIZE_64 36

typedef struct QEMU_PACKED SgxAttributes {
    uint64_t flags, xfrm;
} SgxAttributes;

/*
 * "SGX Enclave Control Structure". What follows CONFIGSVN is the CPU's own:
 * reserved to software, which can neither read nor write it.
 */
typedef struct QEMU_PACKED SgxSecs {
    uint64_t size, base;
    uint32_t ssaframesize;              /* in pages */
    uint32_t miscselect;
    uint8_t reserved1[24];              /* CET's */
    SgxAttributes attributes;
    uint8_t mrenclave[32];
    uint8_t reserved2[32];
    uint8_t mrsigner[32];
    uint8_t reserved3[32];
    uint8_t configid[64];
    uint16_t isvprodid, isvsvn, configsvn;
    uint8_t reserved4[SGX_PAGE - 262];
} SgxSecs;

/* "Thread Control Structure" */
#define TCS_DBGOPTIN 1ull
#define TCS_LIMIT    72                 /* EDBGRD and EDBGWR see no more */
typedef struct QEMU_PACKED SgxTcs {
    uint64_t state;                     /* 1: a logical processor is inside by it */
    uint64_t flags, ossa;
    uint32_t cssa, nssa;
    uint64_t oentry, aep, ofsbase, ogsbase;
    uint32_t fslimit, gslimit;
    uint8_t reserved[SGX_PAGE - TCS_LIMIT];
} SgxTcs;

/* "GPRSGX Region", at the end of an SSA frame. The order of r[] is the opcodes' and QEMU's. */
#define EXITINFO_VALID    0x80000000u
#define EXITINFO_HARDWARE 0x300u
#define EXITINFO_SOFTWARE 0x600u
typedef struct QEMU_PACKED SgxGprs {
    uint64_t r[16];
    uint64_t rflags, rip, ursp, urbp;
    uint32_t exitinfo;
    uint8_t reserved[4];
    uint64_t fsbase, gsbase;
} SgxGprs;

/* "MISC Region", just below */
#define MISC_EXINFO 1u
typedef struct QEMU_PACKED SgxExinfo {
    uint64_t maddr;
    uint32_t errcd, reserved;
} SgxExinfo;

typedef struct QEMU_PACKED SgxPageinfo {
    uint64_t linaddr, srcpge, secinfo /* or PCMD */, secs;
} SgxPageinfo;

typedef struct QEMU_PACKED SgxSecinfo {
    uint64_t flags;
    uint8_t reserved[56];
} SgxSecinfo;

/* "Paging Crypto MetaData" */
typedef struct QEMU_PACKED SgxPcmd {
    SgxSecinfo secinfo;
    uint64_t enclaveid;
    uint8_t reserved[40];
    uint8_t mac[16];
} SgxPcmd;

/* What EWB authenticates beside the page */
typedef struct QEMU_PACKED SgxMacHeader {
    uint64_t eid, linaddr;
    SgxSecinfo secinfo;
    uint8_t reserved[48];
} SgxMacHeader;

/* "Enclave Signature Structure" */
typedef struct QEMU_PACKED SgxSigstruct {
    uint8_t header[16];
    uint32_t vendor, date;
    uint8_t header2[16];
    uint32_t swdefined;
    uint8_t reserved1[84];
    uint8_t modulus[384];
    uint32_t exponent;
    uint8_t signature[384];
    uint32_t miscselect, miscmask;
    uint8_t reserved2[4];               /* two are CET's */
    uint8_t isvfamilyid[16];
    SgxAttributes attributes, attributemask;
    uint8_t enclavehash[32];
    uint8_t reserved3[16];
    uint8_t isvextprodid[16];
    uint16_t isvprodid, isvsvn;
    uint8_t reserved4[12];
    uint8_t q1[384], q2[384];
} SgxSigstruct;

/* "EINIT Token Structure" */
typedef struct QEMU_PACKED SgxEinittoken {
    uint32_t valid;
    uint8_t rest[300];
} SgxEinittoken;

/* "Key Request" */
enum { KEY_EINITTOKEN, KEY_PROVISION, KEY_PROVISION_SEAL, KEY_REPORT, KEY_SEAL };
#define KEYPOLICY_MRENCLAVE    0x01
#define KEYPOLICY_MRSIGNER     0x02
#define KEYPOLICY_NOISVPRODID  0x04
#define KEYPOLICY_CONFIGID     0x08
#define KEYPOLICY_ISVFAMILYID  0x10
#define KEYPOLICY_ISVEXTPRODID 0x20
#define KEYPOLICY_RESERVED     0xffc0
#define KEYPOLICY_OF_KSS       0x003c
typedef struct QEMU_PACKED SgxKeyrequest {
    uint16_t keyname, keypolicy, isvsvn, reserved1;
    uint8_t cpusvn[16];
    SgxAttributes attributemask;
    uint8_t keyid[32];
    uint32_t miscmask;
    uint16_t configsvn;
    uint8_t reserved2[434];
} SgxKeyrequest;

/* "Report Target Info" */
typedef struct QEMU_PACKED SgxTargetinfo {
    uint8_t measurement[32];
    SgxAttributes attributes;
    uint8_t reserved1[2];               /* one is CET's */
    uint16_t configsvn;
    uint32_t miscselect;
    uint8_t reserved2[8];
    uint8_t configid[64];
    uint8_t reserved3[384];
} SgxTargetinfo;

/* "Report". The MAC is over what precedes KEYID. */
typedef struct QEMU_PACKED SgxReport {
    uint8_t cpusvn[16];
    uint32_t miscselect;
    uint8_t reserved1[12];
    uint8_t isvextprodid[16];
    SgxAttributes attributes;
    uint8_t mrenclave[32];
    uint8_t reserved2[32];
    uint8_t mrsigner[32];
    uint8_t reserved3[32];
    uint8_t configid[64];
    uint16_t isvprodid, isvsvn, configsvn;
    uint8_t reserved4[42];
    uint8_t isvfamilyid[16];
    uint8_t reportdata[64];
    uint8_t keyid[32];
    uint8_t mac[16];
} SgxReport;

QEMU_BUILD_BUG_ON(sizeof(SgxSecs) != SGX_PAGE);
QEMU_BUILD_BUG_ON(offsetof(SgxSecs, configid) != 192);
QEMU_BUILD_BUG_ON(sizeof(SgxTcs) != SGX_PAGE);
QEMU_BUILD_BUG_ON(sizeof(SgxGprs) != 184);
QEMU_BUILD_BUG_ON(sizeof(SgxExinfo) != 16);
QEMU_BUILD_BUG_ON(sizeof(SgxSecinfo) != 64);
QEMU_BUILD_BUG_ON(sizeof(SgxPcmd) != 128);
QEMU_BUILD_BUG_ON(sizeof(SgxMacHeader) != 128);
QEMU_BUILD_BUG_ON(sizeof(SgxSigstruct) != 1808);
QEMU_BUILD_BUG_ON(offsetof(SgxSigstruct, miscselect) != 900);
QEMU_BUILD_BUG_ON(offsetof(SgxSigstruct, q1) != 1040);
QEMU_BUILD_BUG_ON(sizeof(SgxEinittoken) != 304);
QEMU_BUILD_BUG_ON(sizeof(SgxKeyrequest) != 512);
QEMU_BUILD_BUG_ON(sizeof(SgxTargetinfo) != 512);
QEMU_BUILD_BUG_ON(sizeof(SgxReport) != 432);
QEMU_BUILD_BUG_ON(offsetof(SgxReport, keyid) != 384);

#endif
