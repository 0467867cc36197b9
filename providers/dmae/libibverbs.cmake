# What a provider has to know of the libibverbs that it is for.

cmake_minimum_required(VERSION 3.18)

# Releases of rdma-core that the provider was run with: Debian 12's and 13's. The
# interface changes between releases, also without a new number of its own.
set(VERBS_TRIED 44 56)

# look_at_libibverbs(VERSION SHARED): of the version that pkg-config says of it,
# VERBS_RELEASE, rdma-core's; of the library, VERBS_PLUGIN_SUFFIX, which it looks
# for, and VERBS_REGISTER_DRIVER, the function that a provider calls.
function(look_at_libibverbs VERSION SHARED)
	string(REGEX MATCH "^[0-9]+\\.[0-9]+\\.([0-9]+)" MATCH "${VERSION}")
	set(RELEASE "${CMAKE_MATCH_1}")
	file(STRINGS ${SHARED} SUFFIX REGEX "^lib%s(-rdmav[0-9]+\\.so)$")
	string(REPLACE "lib%s" "" SUFFIX "${SUFFIX}")
	file(STRINGS ${SHARED} REGISTER REGEX "^verbs_register_driver_[0-9]+$")
	list(LENGTH SUFFIX SUFFIXES)
	list(LENGTH REGISTER REGISTERS)
	if(NOT RELEASE OR NOT SUFFIXES EQUAL 1 OR NOT REGISTERS EQUAL 1)
		message(FATAL_ERROR "${SHARED}, version '${VERSION}', does not look "
			"like a libibverbs with an interface for providers")
	endif()
	if(NOT RELEASE IN_LIST VERBS_TRIED)
		string(REPLACE ";" " and " TRIED "${VERBS_TRIED}")
		message(FATAL_ERROR "libibverbs ${VERSION}, of rdma-core ${RELEASE} "
			"(${REGISTER}), was never tried with the dmae provider; "
			"rdma-core ${TRIED} were. To try it, add ${RELEASE} to "
			"VERBS_TRIED in providers/dmae/libibverbs.cmake, make "
			"verbs-private.h what the build then asks for, and see "
			"'./run test provider' and './run test apps-dmae' pass")
	endif()
	set(VERBS_RELEASE ${RELEASE} PARENT_SCOPE)
	set(VERBS_PLUGIN_SUFFIX ${SUFFIX} PARENT_SCOPE)
	set(VERBS_REGISTER_DRIVER ${REGISTER} PARENT_SCOPE)
endfunction()

# For a test.
if(CMAKE_SCRIPT_MODE_FILE)
	look_at_libibverbs("${VERSION}" "${SHARED}")
	message("${VERBS_RELEASE} ${VERBS_PLUGIN_SUFFIX} ${VERBS_REGISTER_DRIVER}")
endif()
