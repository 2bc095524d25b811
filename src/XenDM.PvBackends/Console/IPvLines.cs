using XenDM.Core.Backends;
using XenDM.PvBackends.XenBus;

namespace XenDM.PvBackends.Console;

/// <summary>Where PV consoles lead: the boards plug their character backends in. Machine thread.</summary>
public interface IPvLines
{
    /// <summary>The line that a console's node <c>output</c> names.</summary>
    /// <param name="label">What a line that is made for it is called, e.g. <c>console-1</c>.</param>
    /// <param name="output">As the toolstack writes it: <c>pty</c>, <c>chardev:libxl-channel0</c>, ...</param>
    /// <returns>One that was given before is given again.</returns>
    /// <exception cref="PvException">There is no such line, it cannot be opened, or a device or monitor uses it.</exception>
    ICharBackend Open(string label, string output);

    /// <summary>The console is gone: what was made for it alone ends; what the command line made stays, with its front end attached.</summary>
    /// <returns>False when the line stays.</returns>
    bool Close(ICharBackend line);
}
