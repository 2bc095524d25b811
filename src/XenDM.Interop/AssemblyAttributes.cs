using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

// Every signature here is blittable, so that the generated stubs copy nothing.
[assembly: DisableRuntimeMarshalling]

// Straight to the dynamic linker: a library lying beside the executable is never taken instead of the system's.
[assembly: DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
