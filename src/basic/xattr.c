/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "xattr.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "string-util.h"

#define PREFIX "security."

static bool is_of_security(const char *name) {
        return strncmp(name, PREFIX, strlen(PREFIX)) == 0;
}

static bool has_capability(unsigned capability) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};

        if (syscall(SYS_capget, &header, data) < 0)
                return true; /* then setting it will tell */
        return data[CAP_TO_INDEX(capability)].effective & CAP_TO_MASK(capability);
}

/* What the kernel asks for, see cap_inode_setxattr(). SELinux asks its policy instead. */
static bool may_set(const char *name) {
        if (streq(name, PREFIX "selinux") && access("/sys/fs/selinux/enforce", F_OK) >= 0)
                return true;
        return has_capability(streq(name, PREFIX "capability") ? CAP_SETFCAP : CAP_SYS_ADMIN);
}

bool xattr_is_kernels(const char *name) {
        if (!is_of_security(name))
                return false;
        return streq(name, PREFIX "ima") || streq(name, PREFIX "evm") || !may_set(name);
}

bool xattr_may_fail(const char *name, int error) {
        return is_of_security(name) && (error == EPERM || error == EACCES || error == EOPNOTSUPP);
}
