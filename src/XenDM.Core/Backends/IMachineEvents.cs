namespace XenDM.Core.Backends;

/// <summary>What chips report to the outside: becomes QMP events.</summary>
public interface IMachineEvents
{
    /// <param name="device">The drive's id.</param>
    /// <param name="errno">Positive errno of the host.</param>
    void BlockIoError(string device, bool isWrite, int errno, string reason);

    /// <param name="device">The drive's id.</param>
    /// <param name="id">The device's id.</param>
    void TrayMoved(string device, string id, bool isOpen);
}

/// <summary>What chips ask of the machine that they sit in.</summary>
public interface IMachineControl
{
    /// <summary>The guest resets the machine (0xcf9, i8042, port 92): carried out before the access is answered.</summary>
    void RequestReset(string who);

    /// <summary>The guest switches the machine off.</summary>
    void RequestPowerOff(string who);

    /// <summary>The guest goes to ACPI S3.</summary>
    void RequestSuspend(string who);
}
