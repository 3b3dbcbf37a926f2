/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu.h"

uint32_t cpu_features;
